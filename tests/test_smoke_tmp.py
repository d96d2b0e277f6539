import numpy as np
def test_it(family_folder):
    import modeling_gait
    from transformers import pipeline
    p=pipeline("text-to-gait",model=str(family_folder))
    r=p(["severe steppage gait, right side, 0.6 m/s, 96 steps/min","lurch gait, left side","normal gait"],seed=0)
    print(r[0]["joints"].shape,r[0]["codes"],r[1]["codes"].pathological)
    r=p("normal gait, 1.2 m/s",candidates=3,num_frames=77,guidance=2.0,sensor=True); assert r["joints"].shape==(77,25,3) and np.isfinite(r["joints"]).all()
    d=pipeline("gait-to-text",model=str(family_folder)); print(d(r["joints"]))

"""GPT-2 by FSDP on two CPU processes: the weights of plain data parallelism, whole checkpoints, a run that goes on.

Accelerate offers FSDP on accelerators only; the processes here switch it on by hand, with the plugin that `accelerate config`
makes (version 2).
"""

import socket

import torch
from conftest import GPT2_ARGUMENTS
from safetensors.torch import load_file
from test_train import PATHS, python

SCRIPT = """
import torch.distributed as dist
from accelerate import DistributedType, FullyShardedDataParallelPlugin, PartialState
from torch.distributed.tensor import DTensor
from modeling_gait.training import gpt2, loop
from train import train_gpt2

start, kind, sharded = loop.start, "MULTI_CPU", []

def start_as(args):
    PartialState(cpu=True).distributed_type = DistributedType.MULTI_CPU
    accelerator = start(args)
    accelerator.state.distributed_type = PartialState().distributed_type = DistributedType(kind)
    if kind == "FSDP":
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2,
            cpu_ram_efficient_loading=True,
            auto_wrap_policy="transformer_based_wrap",
            transformer_cls_names_to_wrap=["GPT2Block"],
        )
    return accelerator

def run(output_dir, kind_, stop=None):
    global kind
    kind, gpt2.start, seed_step = kind_, start_as, loop.seed_step
    def watched(seed, step, process):
        if step == stop:
            raise KeyboardInterrupt
        return seed_step(seed, step, process)
    save = loop.save_checkpoint
    def looked_at(folder, accelerator, model, *rest):
        sharded.append(any(isinstance(p, DTensor) for p in model.parameters()))
        save(folder, accelerator, model, *rest)
    loop.seed_step, loop.save_checkpoint = watched, looked_at
    sys.argv = ["train", *GPT2, "--output_dir", f"{FOLDER}/{output_dir}"]
    try:
        train_gpt2.main()
    except KeyboardInterrupt:
        pass
    loop.seed_step, loop.save_checkpoint = seed_step, save
    PartialState().wait_for_everyone()

run("ddp", "MULTI_CPU")
run("fsdp", "FSDP")
run("stopped", "FSDP", stop=3)
assert os.path.exists(f"{FOLDER}/stopped/checkpoint/state.json")
run("stopped", "FSDP")
assert sharded == [False, True, True], sharded
dist.destroy_process_group()
"""


def test_fsdp_trains_what_data_parallelism_does(dataset_folder, vq_folder, tmp_path):
    gpt2 = ["--dataset", dataset_folder, "--vq", vq_folder, *GPT2_ARGUMENTS]
    values = {"FOLDER": str(tmp_path), "GPT2": list(map(str, gpt2))}
    (tmp_path / "script.py").write_text(PATHS + "".join(f"{k} = {v!r}\n" for k, v in values.items()) + SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python("-m", "torch.distributed.run", "--nproc_per_node", 2, "--master_port", port, tmp_path / "script.py", timeout=400)
    ddp, fsdp, stopped = (load_file(tmp_path / k / "model.safetensors") for k in ("ddp", "fsdp", "stopped"))
    assert ddp.keys() == fsdp.keys() == stopped.keys()
    assert all(torch.equal(fsdp[k], stopped[k]) for k in fsdp)
    for key in ddp:
        torch.testing.assert_close(fsdp[key], ddp[key], atol=1e-5, rtol=1e-4)

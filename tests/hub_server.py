"""A Hub on loopback: the part of the Hugging Face Hub's HTTP protocol that `huggingface_hub` 1.x and 2.x use, in memory.

    with Hub({"hf_me": "me"}) as hub:
        HfApi(endpoint=hub.endpoint, token="hf_me").create_repo("me/model")
        hub.break_next("429", "GET", "/resolve/")       # what goes wrong next, once

Repositories are git-like: a branch names a commit, a commit names all of its files and comes whole or not at all. Files are
stored by the hash of their content. Large ones go the LFS way (batch, PUT) and come back from another host name, as from the
Hub's CDN. Xet is not spoken: clients run with HF_HUB_DISABLE_XET=1.
"""

import base64
import hashlib
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LFS = (".safetensors", ".parquet", ".gif", ".png", ".npy", ".bin")  # as the .gitattributes of a new repository
LFS_SIZE = 5_000_000
REPO = r"(?P<kind>models|datasets|spaces)/(?P<id>[\w.-]+/[\w.-]+)"


@dataclass(frozen=True)
class File:
    """A file of a commit: `oid` of git, `size` [bytes], `sha256` where it is a large file."""

    oid: str
    size: int
    sha256: str | None = None

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Commit:
    """All files by path, the message and the commit before; `changed`: what this commit added or deleted."""

    files: dict[str, File]
    title: str
    parent: str | None
    changed: tuple[str, ...] = ()


@dataclass
class Repository:
    """Commits by id, branches and tags by name."""

    kind: str
    id: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, File], title: str) -> str:
        """Put a commit on a branch; returns its id."""
        parent = self.branches.get(branch)
        before = self.commits[parent].files if parent else {}
        changed = sorted(p for p in before.keys() | files.keys() if before.get(p) != files.get(p))
        content = repr((self.kind, self.id, parent, title, sorted(files.items()), len(self.commits)))
        oid = hashlib.sha1(content.encode()).hexdigest()
        self.commits[oid] = Commit(files, title, parent, tuple(changed))
        self.branches[branch] = oid
        return oid

    def find(self, revision: str) -> str:
        """Commit id of a branch, tag or id. Raises Refusal."""
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        if oid not in self.commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return oid


class Refusal(Exception):
    """An answer that is an error: status, the Hub's X-Error-Code, message, further JSON."""

    def __init__(self, status: int, code: str = "", message: str = "", **more):
        super().__init__(message)
        self.status, self.code, self.message, self.more = status, code, message, more


class Hub:
    """The server.

    Args:
        tokens: token -> user.

    Attributes: `endpoint`, its URL; `log`, (method, path, headers) of each request; `blobs`, contents by hash;
    `repositories` by (kind, id); `collections` by slug.
    """

    def __init__(self, tokens: dict[str, str]):
        self.tokens = tokens
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.collections: dict[str, dict] = {}
        self.blobs: dict[str, bytes] = {}
        self.log: list[tuple[str, str, dict[str, str]]] = []
        self.lock = threading.RLock()
        self._troubles: list[tuple[str, str, str]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.endpoint, self.cdn = f"http://127.0.0.1:{self.port}", f"http://localhost:{self.port}/cdn"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "Hub":
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()

    def break_next(self, how: str, method: str, part: str, times: int = 1) -> None:
        """The next requests of this method whose path holds `part` fail.

        `how`: "429" (with Retry-After: 1) or "drop" (the connection is cut while the request's body is read).
        """
        self._troubles += [(how, method, part)] * times

    def trouble(self, method: str, path: str) -> str | None:
        """What is to go wrong with this request."""
        with self.lock:
            for i, (how, m, part) in enumerate(self._troubles):
                if m == method and part in path:
                    del self._troubles[i]
                    return how
        return None

    def requests(self, method: str, part: str = "") -> list[dict[str, str]]:
        """Headers of the requests so far of this method whose path holds `part`."""
        return [headers for m, path, headers in self.log if m == method and part in path]

    def head(self, id: str, kind: str = "models") -> Commit:
        """The last commit on a repository's main branch."""
        repository = self.repositories[kind, id]
        return repository.commits[repository.branches["main"]]

    def store(self, content: bytes, large: bool) -> File:
        """Keep a content; returns the file it makes."""
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        sha256 = hashlib.sha256(content).hexdigest() if large else None
        file = File(oid, len(content), sha256)
        self.blobs[file.etag] = content
        return file


def _is_large(path: str, size: int) -> bool:
    return bool(size) and (path.endswith(LFS) or size > LFS_SIZE)


class _Handler(BaseHTTPRequestHandler):
    """One request: its route's method gets the groups of the route's pattern as keyword arguments."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # the client went away
            self.close_connection = True

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path, self.query = unquote(url.path), parse_qs(url.query)
        hub, self.trouble = self.hub, None
        with hub.lock:
            hub.log.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        self.trouble = hub.trouble(self.command, path)
        length = int(self.headers.get("Content-Length") or 0)
        if self.trouble == "drop":
            self.rfile.read(length // 2)
            return self._cut()
        body = self._chunked() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
        try:
            if self.trouble == "429":
                raise Refusal(429, "", "Too many requests")
            self.user = self._user()
            for method, pattern, function in ROUTES:
                match = re.fullmatch(pattern, path)
                if match and self.command in method:
                    with hub.lock:
                        answer = function(self, body, **match.groupdict())
                    return answer() if callable(answer) else self._json(200, answer)
            raise Refusal(404, "", f"no route {self.command} {path}")
        except Refusal as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            if refusal.status == 429:
                headers["Retry-After"] = "1"
            self._json(refusal.status, {"error": refusal.message} | refusal.more, {k: v for k, v in headers.items() if v})

    def _chunked(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _json(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self._send(status, body, {"Content-Type": "application/json"} | (headers or {}))

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _cut(self) -> None:
        """Close the connection, as a network that fails."""
        self.wfile.flush()
        time.sleep(0.05)  # what was written arrives
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    # --- who may do what -----------------------------------------------------------------------------------------------------

    def _user(self) -> str | None:
        """The user of the request's token. Raises Refusal for an unknown token."""
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if given and given not in self.hub.tokens:
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        return self.hub.tokens.get(given)

    def _repository(self, kind: str, id: str, write: bool = False) -> Repository:
        """The repository that the user may see (and write). Raises Refusal as the Hub does."""
        repository = self.hub.repositories.get((kind, id))
        owner = self.user == id.split("/")[0]
        if repository is None or (repository.private and not owner):
            if self.user is None:
                raise Refusal(401, "RepoNotFound", "Invalid username or password.")
            raise Refusal(404, "RepoNotFound", "Repository not found")
        if write and self.user is None:
            raise Refusal(401, "", "Invalid username or password.")
        if write and not owner:
            raise Refusal(403, "", f"You don't have the rights to write to {id}")
        return repository

    # --- routes --------------------------------------------------------------------------------------------------------------

    def whoami(self, body: bytes) -> dict:
        if self.user is None:
            raise Refusal(401, "", "Invalid username or password.")
        token = {"displayName": "t", "role": "write"}
        return {"type": "user", "name": self.user, "orgs": [], "auth": {"accessToken": token}}

    def create(self, body: bytes) -> dict:
        asked = json.loads(body)
        owner, kind = asked.get("organization") or self.user, asked.get("type", "model") + "s"
        if self.user is None:
            raise Refusal(401, "", "Invalid username or password.")
        if owner != self.user:
            raise Refusal(403, "", f"You don't have the rights to create a {kind[:-1]} under the namespace {owner!r}")
        id = f"{owner}/{asked['name']}"
        url = f"{self.hub.endpoint}/{'' if kind == 'models' else kind + '/'}{id}"
        if (kind, id) in self.hub.repositories:
            raise Refusal(409, "", "You already created this repo", url=url)
        private = asked.get("private") or asked.get("visibility") == "private"
        repository = self.hub.repositories[kind, id] = Repository(kind, id, private)
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS)
        repository.commit("main", {".gitattributes": self.hub.store(attributes.encode(), False)}, "initial commit")
        return {"url": url, "name": id, "id": id}

    def info(self, body: bytes, kind: str, id: str, revision: str | None = None) -> dict:
        repository = self._repository(kind, id)
        sha = repository.find(revision or "main")
        files = repository.commits[sha].files
        about = {"id": id, "sha": sha, "private": repository.private, "author": id.split("/")[0], "tags": []}
        about |= {"_id": "0", "gated": False, "disabled": False, "downloads": 0, "likes": 0, "lastModified": now()}
        return about | {"siblings": [{"rfilename": p} for p in sorted(files)]}

    def preupload(self, body: bytes, kind: str, id: str, revision: str) -> dict:
        repository = self._repository(kind, id, write=True)
        files = repository.commits[repository.find(revision)].files
        answer = []
        for f in json.loads(body)["files"]:
            mode = "lfs" if _is_large(f["path"], f["size"]) else "regular"
            known = files.get(f["path"])
            answer.append({"path": f["path"], "uploadMode": mode, "shouldIgnore": False, "oid": known and known.etag})
        return {"files": answer}

    def lfs_batch(self, body: bytes, kind: str | None, id: str) -> dict:
        self._repository((kind or "models/").rstrip("/"), id, write=True)
        objects = []
        for one in json.loads(body)["objects"]:
            oid, size = one["oid"], one["size"]
            known = {} if oid in self.hub.blobs else {"actions": {"upload": {"href": f"{self.hub.endpoint}/lfs/{oid}"}}}
            objects.append({"oid": oid, "size": size} | known)
        return {"transfer": "basic", "objects": objects}

    def lfs_put(self, body: bytes, oid: str) -> dict:
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refusal(400, "", "the content does not have this hash")
        self.hub.blobs[oid] = body
        return {}

    def commit(self, body: bytes, kind: str, id: str, revision: str) -> dict:
        repository = self._repository(kind, id, write=True)
        lines = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        files = dict(repository.commits[repository.find(revision)].files)
        for line in lines[1:]:
            value, path = line["value"], line["value"]["path"]
            if line["key"] == "file":
                files[path] = self.hub.store(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.blobs:
                    raise Refusal(400, "", f"{path}: its content was not uploaded")
                files[path] = self.hub.store(self.hub.blobs[value["oid"]], True)
            elif line["key"] == "deletedFile":
                if files.pop(path, None) is None:
                    raise Refusal(404, "EntryNotFound", f"A file with this name doesn't exist: {path}")
            elif line["key"] == "deletedFolder":
                files = {p: f for p, f in files.items() if not p.startswith(path.rstrip("/") + "/")}
        oid = repository.commit(revision, files, header["summary"])
        return {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.endpoint}/{id}/commit/{oid}", "hookOutput": ""}

    def tree(self, body: bytes, kind: str, id: str, revision: str, path: str | None = None) -> list[dict]:
        repository = self._repository(kind, id)
        files = repository.commits[repository.find(revision)].files
        prefix = f"{path}/" if path else ""
        inside = {p: f for p, f in files.items() if p.startswith(prefix)}
        if prefix and not inside:
            raise Refusal(404, "EntryNotFound", f"{path} does not exist on {revision!r}")
        names = [p.split("/")[:-1] for p in inside]
        folders = {"/".join(parts[:k]) for parts in names for k in range(1, len(parts) + 1)}
        found = [describe(p, f) for p, f in inside.items()]
        found += [{"type": "directory", "path": p, "oid": "0" * 40} for p in folders if p.startswith(prefix)]
        deep = self.query.get("recursive", [""])[0].lower() in ("1", "true")
        return sorted((e for e in found if deep or "/" not in e["path"][len(prefix) :]), key=lambda e: e["path"])

    def paths_info(self, body: bytes, kind: str, id: str, revision: str) -> list[dict]:
        asked = json.loads(body) if body.startswith(b"{") else parse_qs(body.decode())
        repository = self._repository(kind, id)
        files = repository.commits[repository.find(revision)].files
        folders = [p for p in asked["paths"] if any(f.startswith(p + "/") for f in files)]
        found = [describe(p, files[p]) for p in asked["paths"] if p in files]
        return found + [{"type": "directory", "path": p, "oid": "0" * 40} for p in folders]

    def history(self, body: bytes, kind: str, id: str, revision: str) -> list[dict]:
        repository, found = self._repository(kind, id), []
        oid: str | None = repository.find(revision)
        while oid:
            commit = repository.commits[oid]
            found.append({"id": oid, "title": commit.title, "message": "", "date": now(), "authors": []})
            oid = commit.parent
        return found

    def tag(self, body: bytes, kind: str, id: str, revision: str) -> dict:
        repository, name = self._repository(kind, id, write=True), json.loads(body)["tag"]
        if name in repository.tags:
            raise Refusal(409, "", f"Tag reference exists already: {name}")
        repository.tags[name] = repository.find(revision)
        return {}

    def resolve(self, body: bytes, kind: str | None, id: str, revision: str, path: str):
        repository = self._repository((kind or "models/").rstrip("/"), id)
        oid = repository.find(revision)
        headers = {"X-Repo-Commit": oid}
        file = repository.commits[oid].files.get(path)
        if file is None:
            error = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return lambda: self._json(404, {"error": "Entry not found"}, headers | error)
        headers["ETag"] = f'"{file.etag}"'
        if file.sha256 is None:
            return lambda: self._content(file, headers)
        headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(file.size)}
        headers["Location"] = f"{self.hub.cdn}/{file.sha256}"
        return lambda: self._send(302, b"", headers)

    def from_cdn(self, body: bytes, sha256: str):
        return lambda: self._content(File("", len(self.hub.blobs[sha256]), sha256), {"ETag": f'"{sha256}"'})

    def _content(self, file: File, headers: dict[str, str]) -> None:
        self._send(200, self.hub.blobs[file.etag], headers)

    def validate_yaml(self, body: bytes) -> dict:
        """What the Hub refuses in a card that `training/cards.py` might get wrong."""
        match = re.match(r"---\n(.*?)\n---\n", json.loads(body)["content"], re.DOTALL)
        data, errors = yaml.safe_load(match[1]) if match else {}, []
        if data.get("license") == "other" and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", str(data.get("license_name", ""))):
            errors.append({"message": '"license_name" is required for "license: other"'})
        for result in (r for model in data.get("model-index", []) for r in model["results"]):
            if not result.get("task", {}).get("type") or not {"type", "name"} <= result.get("dataset", {}).keys():
                errors.append({"message": '"model-index" needs task.type, dataset.type and dataset.name'})
        if errors:
            raise Refusal(400, "", "Invalid metadata", errors=errors)
        return {"errors": [], "warnings": [] if data else [{"message": "empty or missing yaml metadata in repo card"}]}

    def new_collection(self, body: bytes) -> dict:
        asked = json.loads(body)
        if asked["namespace"] != self.user:
            raise Refusal(403, "", f"You don't have the rights to create a collection under {asked['namespace']}")
        name = re.sub(r"\W+", "-", asked["title"].lower()).strip("-")
        slug = f"{self.user}/{name}-{hashlib.sha1(asked['title'].encode()).hexdigest()[:24]}"
        if slug in self.hub.collections:
            raise Refusal(409, "", "This collection already exists", slug=slug)
        about = {"slug": slug, "title": asked["title"], "owner": {"name": self.user}, "items": [], "lastUpdated": now()}
        about |= {"position": 0, "private": asked.get("private", False), "theme": "green", "upvotes": 0}
        self.hub.collections[slug] = about | {"description": asked.get("description")}
        return self.hub.collections[slug]

    def collection(self, body: bytes, slug: str) -> dict:
        if slug not in self.hub.collections:
            raise Refusal(404, "", "Collection not found")
        return self.hub.collections[slug]

    def collection_item(self, body: bytes, slug: str) -> dict:
        found, asked = self.collection(b"", slug), json.loads(body)["item"]
        if any((i["id"], i["type"]) == (asked["id"], asked["type"]) for i in found["items"]):
            raise Refusal(409, "", "This item is already in the collection")
        self._repository(asked["type"] + "s", asked["id"])
        found["items"].append({"_id": str(len(found["items"])), "position": len(found["items"])} | asked)
        return found


def now() -> str:
    """The time as the Hub writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def describe(path: str, file: File) -> dict:
    """A file as the tree lists it."""
    large = {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134}} if file.sha256 else {}
    return {"type": "file", "path": path, "oid": file.oid, "size": file.size} | large


ROUTES = [
    ("GET", r"/api/whoami-v2", _Handler.whoami),
    ("POST", r"/api/repos/create", _Handler.create),
    ("POST", r"/api/validate-yaml", _Handler.validate_yaml),
    ("GET", rf"/api/{REPO}", _Handler.info),
    ("GET", rf"/api/{REPO}/revision/(?P<revision>.+)", _Handler.info),
    ("POST", rf"/api/{REPO}/preupload/(?P<revision>.+)", _Handler.preupload),
    ("POST", rf"/api/{REPO}/commit/(?P<revision>.+)", _Handler.commit),
    ("GET", rf"/api/{REPO}/tree/(?P<revision>[^/]+)(/(?P<path>.+))?", _Handler.tree),
    ("POST", rf"/api/{REPO}/paths-info/(?P<revision>.+)", _Handler.paths_info),
    ("GET", rf"/api/{REPO}/commits/(?P<revision>.+)", _Handler.history),
    ("POST", rf"/api/{REPO}/tag/(?P<revision>.+)", _Handler.tag),
    ("POST", r"/(?P<kind>datasets/)?(?P<id>[\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ("PUT", r"/lfs/(?P<oid>\w+)", _Handler.lfs_put),
    ("GET HEAD", r"/(?P<kind>datasets/)?(?P<id>[\w.-]+/[\w.-]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
    ("GET HEAD", r"/cdn/(?P<sha256>\w+)", _Handler.from_cdn),
    ("POST", r"/api/collections", _Handler.new_collection),
    ("GET", r"/api/collections/(?P<slug>[^/]+/[^/]+)", _Handler.collection),
    ("POST", r"/api/collections/(?P<slug>[^/]+/[^/]+)/items", _Handler.collection_item),
]

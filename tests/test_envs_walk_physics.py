"""What physics engines and emulators hide in C counts as state: environments of all kinds, in two processes each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from envs.canonical import checksum
from envs.walk import state_tree

ROOT = Path(__file__).resolve().parent.parent

SCRIPT = """
import importlib, sys, warnings
warnings.simplefilter("ignore")
import gymnasium, numpy as np
from envs.canonical import checksum
from envs.walk import state_tree

module, name, seed = sys.argv[1:]
if module == "ale_py":
    import ale_py
    gymnasium.register_envs(ale_py)
turns = "." in module
try:
    env = importlib.import_module(module).env() if turns else gymnasium.make(name)
except ImportError as error:
    print("missing", error.name)
    sys.exit()
env.reset(seed=7)
chooser = np.random.default_rng(int(seed))

def choose(space):
    if hasattr(space, "n"):
        return int(space.start + chooser.integers(space.n))
    return chooser.uniform(np.maximum(space.low, -1), np.minimum(space.high, 1)).astype(space.dtype)

for _ in range(40):
    if turns:
        agent = env.agent_selection
        ended = env.terminations[agent] or env.truncations[agent]
        env.step(None if ended else choose(env.action_space(agent)))
    else:
        env.step(choose(env.action_space))
    tree = state_tree(env)
    assert tree.opaque == [], tree.opaque
    print(checksum(tree.data).hex())
"""

ENVIRONMENTS = {
    "LunarLander": ("gymnasium", "LunarLander-v3", "Box2D"),
    "BipedalWalker": ("gymnasium", "BipedalWalker-v3", "Box2D"),
    "HalfCheetah": ("gymnasium", "HalfCheetah-v5", "mujoco"),
    "Pong": ("ale_py", "ALE/Pong-v5", "ale_py"),
    "cooperative_pong": ("pettingzoo.butterfly.cooperative_pong_v6", "", "pygame"),
    "knights_archers_zombies": ("pettingzoo.butterfly.knights_archers_zombies_v11", "", "pygame"),
    "pistonball": ("pettingzoo.butterfly.pistonball_v6", "", "pymunk"),
    "multiwalker": ("pettingzoo.sisl.multiwalker_v9", "", "Box2D"),
    "simple_spread": ("mpe2.simple_spread_v3", "", "mpe2"),
    "simple_tag": ("mpe2.simple_tag_v3", "", "mpe2"),
}


def need(package: str) -> Any:
    return pytest.importorskip(package, reason=f"the package {package} is not installed, and this environment needs it")


def run(folder: Path, module: str, name: str, hash_seed: int, inputs: int) -> list[str]:
    environ = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    environ.update(SDL_VIDEODRIVER="dummy", SDL_AUDIODRIVER="dummy", PYTHONWARNINGS="ignore")
    command = [sys.executable, "-c", SCRIPT, module, name, str(inputs)]
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    words = done.stdout.split()
    return words[words.index("missing") :] if "missing" in words else [word for word in words if len(word) == 16]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_processes_agree_at_every_step_and_other_inputs_show(environment: str, tmp_path: Path) -> None:
    module, name, package = ENVIRONMENTS[environment]
    need(package)
    one, other, changed = (run(tmp_path, module, name, *seeds) for seeds in ((1, 1), (99, 1), (1, 2)))
    if one[:1] == ["missing"]:
        pytest.skip(f"the package {one[-1]} is not installed, and this environment needs it")
    assert one == other
    assert len(one) == 40
    assert len(set(one)) >= 39
    assert sum(a != b for a, b in zip(one, changed, strict=True)) >= 35


def test_bodies_of_box2d_count_and_so_does_what_hangs_on_them() -> None:
    box2d = need("Box2D")
    world = box2d.b2World(gravity=(0, -10))
    ground = world.CreateStaticBody(position=(0, 0))
    ground.CreateEdgeFixture(vertices=[(-9, 0), (9, 0)], friction=0.5)
    box = world.CreateDynamicBody(position=(0, 1.1), userData={"lives": 3})
    box.CreatePolygonFixture(box=(1, 1), density=1)
    wheel = world.CreateDynamicBody(position=(0, 3))
    wheel.CreateCircleFixture(radius=0.5, density=1)
    joint = world.CreateRevoluteJoint(bodyA=box, bodyB=wheel, anchor=(0, 3), maxMotorTorque=5, enableMotor=True)
    for _ in range(60):
        world.Step(1 / 60, 6, 2)
    holder = {"world": world, "box": box}

    def digest() -> bytes:
        return checksum(state_tree(holder).data)

    assert world.contactCount >= 1
    assert state_tree(holder).opaque == []

    data = state_tree({"world": world}).data["world"]
    data = data.get("<value>", data)
    assert data["joints"][0]["maxMotorTorque" if "maxMotorTorque" in data["joints"][0] else "GetMaxMotorTorque"] == 5
    assert data["joints"][0]["motorEnabled"] is True
    assert any(abs(part) > 0.1 for part in data["joints"][0]["GetReactionForce"])
    assert any(points[0] > 0.01 for contact in data["contacts"] for points in contact["points"])

    def speed_up() -> None:
        box.linearVelocity = (1, 0)

    def set_motor() -> None:
        joint.motorSpeed = 3

    def move_ground() -> None:
        ground.position = (0, -1)

    def stamp() -> None:
        box.ground_contact = True

    def lose_a_life() -> None:
        box.userData["lives"] = 2

    def make_slippery() -> None:
        ground.fixtures[0].friction = 0.1

    for change in (speed_up, set_motor, move_ground, stamp, lose_a_life, make_slippery):
        before = digest()
        assert digest() == before
        change()
        assert digest() != before, change.__name__


def test_forces_inside_a_stack_at_rest_count_in_pymunk() -> None:
    pymunk = need("pymunk")

    def build(steps: int) -> Any:
        space = pymunk.Space()
        space.gravity = 0, 900
        body = pymunk.Body(1, 1)
        space.add(body, pymunk.Circle(body, 5), pymunk.Segment(space.static_body, (-100, 20), (100, 20), 1))
        motor = pymunk.SimpleMotor(space.static_body, body, 1)
        space.add(motor)
        for _ in range(steps):
            space.step(1 / 60)
        return space, body, motor

    space, body, motor = build(200)
    tree = state_tree(space)
    assert tree.opaque == []
    assert len(tree.data["contacts"]) == 1
    assert checksum(tree.data) == checksum(state_tree(build(200)[0]).data) != checksum(state_tree(build(201)[0]).data)
    for holder, name, value in ((body, "torque", 3), (motor, "rate", 2), (body, "lives", 2), (space, "damping", 0.5)):
        before = checksum(state_tree(space).data)
        setattr(holder, name, value)
        assert checksum(state_tree(space).data) != before, name


def test_contacts_of_pymunk_have_an_order_that_does_not_depend_on_addresses() -> None:
    pymunk = need("pymunk")
    space = pymunk.Space()
    space.gravity = 0, 900
    space.add(pymunk.Segment(space.static_body, (-500, 20), (500, 20), 1))
    for number in range(12):
        body = pymunk.Body(1, 1)
        body.position = 20 * number, 10
        space.add(body, pymunk.Circle(body, 5))
    for _ in range(60):
        space.step(1 / 60)
    pairs = [contact["shapes"] for contact in state_tree(space).data["contacts"]]
    assert len(pairs) == 12
    assert pairs == sorted(pairs)


def test_model_and_data_of_mujoco_count() -> None:
    mujoco = need("mujoco")
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body><freejoint/><geom size='1'/></body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    holder = {"model": model, "data": data}
    seen = {checksum(state_tree(holder).data)}
    mujoco.mj_step(model, data)
    seen.add(checksum(state_tree(holder).data))
    model.geom_friction[0, 0] = 0.3
    seen.add(checksum(state_tree(holder).data))
    model.opt.gravity[2] = -1
    seen.add(checksum(state_tree(holder).data))
    assert len(seen) == 4


def test_a_destroyed_body_to_which_a_handle_is_left_says_nothing_but_that() -> None:
    box2d = pytest.importorskip("Box2D", reason="Box2D is not installed")
    world = box2d.b2World()
    hull, other = (world.CreateDynamicBody(position=(n, 2), linearVelocity=(n, 1)) for n in (1, 3))
    assert state_tree({"drawn": [hull, other]}).data["drawn"][0]["position"] == (1.0, 2.0)
    world.DestroyBody(hull)
    for env in ({"drawn": [hull, other], "world": world}, {"world": world, "drawn": [hull, other]}):
        drawn, still = state_tree(env).data["drawn"]
        assert drawn == {"<type>": "Box2D.b2Body", "<destroyed>": True}
        assert still == "<same as state['world'].bodies[0]>" or still["position"] == (3.0, 2.0)

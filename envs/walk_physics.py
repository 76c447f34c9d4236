"""How the worlds of physics engines and emulators look in a tree of state; see ``envs/walk.py``.

Their objects hide their content in C, so what is read of it is listed here by the names of types and attributes. No
engine is imported: that an object of it is at hand means that it has been. What an engine does not tell is not in the
tree, as the time that a body of Box2D has been at rest, or what Chipmunk has cached about pairs that may touch soon.
"""

from __future__ import annotations

import sys
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from envs.walk_forms import Place, Walker, once, type_name

_BODY = (
    *("type", "active", "awake", "bullet", "fixedRotation", "sleepingAllowed", "angle", "angularVelocity"),
    *("angularDamping", "linearDamping", "gravityScale", "mass", "inertia"),
)
_FIXTURE = ("density", "friction", "restitution", "sensor", "type")
_CONTACT = ("enabled", "touching", "friction", "restitution", "tangentSpeed", "childIndexA", "childIndexB")
_WORLD = ("warmStarting", "continuousPhysics", "subStepping", "autoClearForces")
_JOINT = (
    *("type", "active", "collideConnected", "angle", "speed", "limitEnabled", "lowerLimit", "upperLimit", "limitState"),
    *("motorEnabled", "motorSpeed", "maxMotorTorque", "maxMotorForce", "translation", "maxForce", "maxTorque", "ratio"),
    *("frequency", "dampingRatio", "springFrequencyHz", "springDampingRatio", "length", "maxLength", "lengthA"),
    *("lengthB", "angularOffset", "correctionFactor"),
)
"""What some joint of Box2D has; each kind has a part of it."""
_JOINT_VECTORS = ("anchorA", "anchorB", "target", "linearOffset", "groundAnchorA", "groundAnchorB")
_JOINT_PULLS = ("GetReactionForce", "GetReactionTorque", "GetMotorTorque", "GetMotorForce")
"""What a joint has built up, which the next step starts from."""
_JOINT_LIMITS = ("GetMaxMotorTorque", "GetMaxMotorForce")
_STATIC = 0
_SHAPE = ("radius", "vertices", "hasVertex0", "hasVertex3")
_SHAPE_VECTORS = ("pos", "vertex0", "vertex3")
_SWIG = frozenset(("this", "thisown"))

PYMUNK_OWN = frozenset(
    (
        *("_body", "_space", "_constraints", "_shapes", "_data_handle", "_shape", "_h", "_constraint", "_a", "_b"),
        *("_bodies", "_static_body", "_handlers", "_post_step_callbacks", "_removed_shapes", "_locked", "_add_later"),
        *("_remove_later", "_bodies_to_check", "_init", "_handler", "_userData"),
    )
)
"""Attributes in which pymunk keeps its wrappers together. What they lead to is read by its names instead."""
_PYMUNK_SPACE = (
    *("iterations", "damping", "idle_speed_threshold", "sleep_time_threshold", "collision_slop", "collision_bias"),
    *("collision_persistence", "threads", "current_time_step"),
)
_PYMUNK_BODY = ("body_type", "mass", "moment", "angle", "angular_velocity", "torque", "is_sleeping")
_PYMUNK_VECTORS = ("position", "velocity", "force", "center_of_gravity")
_PYMUNK_SHAPE = ("sensor", "collision_type", "elasticity", "friction", "mass", "density", "_hashid", "radius")
_PYMUNK_CONSTRAINT = (
    *("max_force", "error_bias", "max_bias", "collide_bodies", "impulse", "distance", "min", "max", "rest_length"),
    *("stiffness", "damping", "rest_angle", "phase", "ratchet", "ratio", "rate", "angle"),
)
_ARBITER = ("e", "u", "count", "swapped", "stamp", "state")
_ARBITER_CONTACT = ("nMass", "tMass", "bounce", "jnAcc", "jtAcc", "jBias", "bias", "hash")

ADDRESSES = frozenset(("multi_agent_ale_py.ale_python_interface.ALEInterface",))
"""Types whose attributes are addresses in C: who copies or changes one uses memory that is another's."""

_MODEL = (
    *("body_mass", "body_inertia", "body_pos", "body_quat", "geom_friction", "geom_size", "geom_pos", "geom_solref"),
    *("dof_damping", "dof_armature", "dof_frictionloss", "jnt_range", "jnt_stiffness", "actuator_gainprm"),
    *(
        "actuator_biasprm",
        "actuator_gear",
        "actuator_ctrlrange",
        "qpos0",
        "qpos_spring",
        "site_pos",
        "tendon_stiffness",
    ),
)
"""What environments change in a model of MuJoCo. The rest, such as meshes, is half a megabyte that stays as it is."""
_MODEL_OPTIONS = ("timestep", "gravity", "wind", "density", "viscosity", "integrator", "iterations", "disableflags")


_PRESENT: Dict[Tuple[type, Tuple[str, ...]], Tuple[str, ...]] = {}


def _numbers(value: Any, names: Tuple[str, ...]) -> Dict[str, Any]:
    """Return those of the named attributes that objects of this type have."""
    kind = type(value)
    present = _PRESENT.get((kind, names))
    if present is None:
        readable = [name for name in names if getattr(getattr(kind, name, None), "fget", True) is not None]
        present = _PRESENT[kind, names] = tuple([name for name in readable if hasattr(kind, name)])
    return {name: getattr(value, name) for name in present}


def _vectors(value: Any, names: Tuple[str, ...]) -> Dict[str, Any]:
    return {name: tuple(item) for name, item in _numbers(value, names).items()}


def _swig(walker: Walker) -> Walker:
    """Return a walker for what SWIG wraps anew at every access: one object is known by its address in C."""

    def walk_swig(value: Any, walk: Any, place: Place) -> Any:
        walk.keep.append(value)
        key = int(value.this)
        if key in walk.seen:
            inner: Any = walk.reference(key)
        else:
            walk.seen[key] = place
            inner = walker(value, walk, place)
        found = vars(value)
        if len(found) == 1:
            return inner
        own = {name: found[name] for name in found if name not in _SWIG and not name.startswith("_b2")}
        if not own:
            return inner
        # What an environment hangs on one wrapper is there, not in C, and no other wrapper has it.
        if id(value) in walk.seen:
            return walk.reference(id(value))
        walk.seen[id(value)] = place
        return {**walk.attributes(own, place), "<type>": type_name(type(value)), "<value>": inner}

    return walk_swig


def _parts(items: Any, walk: Any, place: Place, name: str) -> List[Any]:
    inner = (place, name, place[2] + 1)
    return [walk.made(item, inner, index) for index, item in enumerate(items)]


def _world(value: Any, walk: Any, place: Place) -> Any:
    return {
        **_numbers(value, _WORLD),
        "gravity": tuple(value.gravity),
        "bodies": _parts(value.bodies, walk, place, "bodies"),
        "joints": _parts(value.joints, walk, place, "joints"),
        "contacts": _parts(value.contacts, walk, place, "contacts"),
    }


def _body(value: Any, walk: Any, place: Place) -> Any:
    if not _is_in_world(value, walk):
        return {"<type>": "Box2D.b2Body", "<destroyed>": True}
    moves = value.type != _STATIC
    out = {"<type>": "Box2D.b2Body", "position": tuple(value.position)}
    if moves:
        out.update(_numbers(value, _BODY))
        out["linearVelocity"], out["localCenter"] = tuple(value.linearVelocity), tuple(value.localCenter)
        out["fixtures"] = _parts(value.fixtures, walk, place, "fixtures")
    else:
        # Some worlds have hundreds of these. There is no more to them, and it is said with fewer words.
        out["angle"], out["active"] = value.angle, value.active
        fixtures = [_still_fixture(fixture, walk, place) for fixture in value.fixtures]
        out["fixtures"] = fixtures
    if value.userData is not None:
        out["userData"] = walk.part(value.userData, place, "userData")
    return out


def _is_in_world(body: Any, walk: Any) -> bool:
    """True unless the body was destroyed: what is read of it then is memory that was given back, and lies elsewhere."""
    world = body.world
    if world is None:
        return False
    alive = walk.alive.get(int(world.this))
    if alive is None:
        alive = walk.alive[int(world.this)] = frozenset(int(each.this) for each in world.bodies)
    return int(body.this) in alive


def _still_fixture(value: Any, walk: Any, place: Place) -> Any:
    if value.userData is not None:
        return walk.made(value, place, "fixture")
    walk.seen[int(value.this)] = place
    rules, shape = value.filterData, value.shape
    numbers = (value.density, value.friction, value.restitution, value.sensor)
    return (*numbers, rules.categoryBits, rules.maskBits, rules.groupIndex, *_shape(shape).values())


def _fixture(value: Any, walk: Any, place: Place) -> Any:
    rules, body = value.filterData, value.body
    out = _numbers(value, _FIXTURE)
    out["filter"] = (rules.categoryBits, rules.maskBits, rules.groupIndex)
    out["shape"] = _shape(value.shape)
    if int(body.this) not in walk.seen:  # else it is the body that led here
        out["body"] = walk.made(body, place, "body")
    if value.userData is not None:
        out["userData"] = walk.part(value.userData, place, "userData")
    return out


def _shape(value: Any) -> Dict[str, Any]:
    out = _numbers(value, _SHAPE)
    if "vertices" in out:
        out["vertices"] = tuple(out["vertices"])
    out.update(_vectors(value, _SHAPE_VECTORS))
    return out


def _joint(value: Any, walk: Any, place: Place) -> Any:
    out = {"<type>": type_name(type(value)), **_numbers(value, _JOINT), **_vectors(value, _JOINT_VECTORS)}
    for name in _JOINT_PULLS:
        pull = getattr(value, name, None)
        if pull is not None:
            amount = pull(1.0)
            out[name] = amount if type(amount) is float else tuple(amount)
    for name in _JOINT_LIMITS:
        limit = getattr(value, name, None)
        if limit is not None:
            out[name] = limit()
    for name in ("bodyA", "bodyB", "userData"):
        out[name] = walk.made(getattr(value, name), place, name)
    return out


def _contact(value: Any, walk: Any, place: Place) -> Any:
    out = _numbers(value, _CONTACT)
    out["fixtureA"] = walk.made(value.fixtureA, place, "fixtureA")
    out["fixtureB"] = walk.made(value.fixtureB, place, "fixtureB")
    manifold = value.manifold
    if manifold.pointCount:
        out["kind"] = manifold.type_
        out["normal"], out["point"] = tuple(manifold.localNormal), tuple(manifold.localPoint)
        points = manifold.points[: manifold.pointCount]
        out["points"] = [(p.normalImpulse, p.tangentImpulse, *p.localPoint, p.id.key) for p in points]
    return out


def _definition(value: Any, walk: Any, place: Place) -> Any:
    """Walk what bodies, fixtures and joints are made from: its properties."""
    out = {"<type>": type_name(type(value))}
    for cls in reversed(type(value).__mro__):
        for name, member in vars(cls).items():
            if isinstance(member, property) and name not in _SWIG:
                try:
                    item = getattr(value, name)
                except (AttributeError, TypeError, ValueError):
                    continue  # some can only be set
                out[name] = walk.made(item, place, name)
    return out


def _listener(value: Any, walk: Any, place: Place) -> Any:
    return f"<{type_name(type(value))}>"


def _vector(value: Any, walk: Any, place: Place) -> Any:
    return {"<type>": type_name(type(value)), "<items>": tuple(value)}


def _pymunk_own(value: Any, walk: Any, place: Place) -> Any:
    """Return what an environment has added to an object of pymunk."""
    own = {name: item for name, item in vars(value).items() if name not in PYMUNK_OWN}
    return {**walk.attributes(own, place), "<type>": type_name(type(value))} if own else {}


def _space(value: Any, walk: Any, place: Place) -> Any:
    out = {"<type>": type_name(type(value)), **_pymunk_own(value, walk, place), **_numbers(value, _PYMUNK_SPACE)}
    out["gravity"] = tuple(value.gravity)
    for name in ("bodies", "shapes", "constraints"):
        out[name] = _parts(list(getattr(value, name)), walk, place, name)
    out["static_body"] = walk.part(value._static_body, place, "static_body")
    out["handlers"] = walk.part(value._handlers, place, "handlers")
    arbiters = getattr(value, "_get_arbiters", None)
    if arbiters is None:
        out["contacts"] = walk.name_opaque(value._space, (place, "contacts", place[2] + 1))
    else:
        shapes = {shape._shape: index for index, shape in enumerate(value.shapes)}
        found = [_arbiter(arbiter, shapes) for arbiter in arbiters()]
        out["contacts"] = sorted(found, key=_pair)  # they lie in a table by address
    return out


def _pair(arbiter: Dict[str, Any]) -> Any:
    return arbiter["shapes"]


def _arbiter(value: Any, shapes: Dict[Any, int]) -> Dict[str, Any]:
    contacts = [value.contacts[index] for index in range(value.count)]
    return {
        **{name: getattr(value, name) for name in _ARBITER},
        "shapes": (shapes.get(value.a, -1), shapes.get(value.b, -1)),
        "normal": (value.n.x, value.n.y),
        "surface": (value.surface_vr.x, value.surface_vr.y),
        "points": [
            (c.r1.x, c.r1.y, c.r2.x, c.r2.y, *[getattr(c, name) for name in _ARBITER_CONTACT]) for c in contacts
        ],
    }


def _pymunk_body(value: Any, walk: Any, place: Place) -> Any:
    out = {**_pymunk_own(value, walk, place), **_numbers(value, _PYMUNK_BODY), **_vectors(value, _PYMUNK_VECTORS)}
    out.setdefault("<type>", type_name(type(value)))
    out["shapes"] = _parts(list(value.shapes), walk, place, "shapes")
    return out


def _pymunk_shape(value: Any, walk: Any, place: Place) -> Any:
    out = {**_pymunk_own(value, walk, place), **_numbers(value, _PYMUNK_SHAPE)}
    out["<type>"] = type_name(type(value))
    out["filter"] = tuple(value.filter)
    out["surface_velocity"] = tuple(value.surface_velocity)
    out.update(_vectors(value, ("offset", "a", "b")))
    vertices = getattr(value, "get_vertices", None)
    if vertices is not None:
        out["vertices"] = tuple(map(tuple, vertices()))
    out["body"] = walk.part(value.body, place, "body")
    return out


def _pymunk_constraint(value: Any, walk: Any, place: Place) -> Any:
    out = {**_pymunk_own(value, walk, place), **_numbers(value, _PYMUNK_CONSTRAINT)}
    out["<type>"] = type_name(type(value))
    out.update(_vectors(value, ("anchor_a", "anchor_b", "groove_a", "groove_b")))
    for name in ("a", "b"):
        out[name] = walk.part(getattr(value, name), place, name)
    return out


def _ale(value: Any, walk: Any, place: Place) -> Any:
    state = value.cloneState(include_rng=True)
    return {"<type>": "ale_py.ALEInterface", "ram": np.array(value.getRAM()), "state": bytes(state.serialize())}


def _multi_agent_ale(value: Any, walk: Any, place: Place) -> Any:
    state = value.cloneSystemState()  # with the generator, which the other state is without
    try:
        encoded = np.array(value.encodeState(state))
    finally:
        value.deleteState(state)
    # Not getRAM, which lags behind: it shows the memory of the last act, also after a state has been brought back.
    return {"<type>": "multi_agent_ale_py.ALEInterface", "state": encoded}


def _mujoco_data(value: Any, walk: Any, place: Place) -> Any:
    mujoco, model = sys.modules["mujoco"], getattr(value, "model", None)
    if model is None or not hasattr(mujoco, "mj_getState"):
        return walk.name_opaque(value, place)
    wanted = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(model, wanted))
    mujoco.mj_getState(model, value, state, wanted)
    return {"<type>": "mujoco.MjData", "state": state}


def _mujoco_model(value: Any, walk: Any, place: Place) -> Any:
    found = {**_numbers(value, _MODEL), **_numbers(value.opt, _MODEL_OPTIONS)}
    return {"<type>": "mujoco.MjModel", **{name: walk.made(item, place, name) for name, item in found.items()}}


_LISTENERS = ("b2ContactListener", "b2ContactFilter", "b2DestructionListener", "b2RayCastCallback", "b2QueryCallback")
_BOX2D: Dict[str, Walker] = {
    "b2World": _swig(_world),
    "b2Body": _swig(_body),
    "b2Fixture": _swig(_fixture),
    "b2Joint": _swig(_joint),
    "b2Contact": _swig(_contact),
    **dict.fromkeys(_LISTENERS, _swig(_listener)),
    **dict.fromkeys(("b2BodyDef", "b2FixtureDef", "b2JointDef", "b2Shape", "b2Filter"), _swig(_definition)),
    **dict.fromkeys(("b2Vec2", "b2Vec3", "b2Color"), _vector),
}
_PHYSICS: Dict[str, Walker] = {
    **{f"Box2D.Box2D.{name}": walker for name, walker in _BOX2D.items()},
    "pymunk.space.Space": once(_space),
    "pymunk.body.Body": once(_pymunk_body),
    "pymunk.shapes.Shape": once(_pymunk_shape),
    "pymunk.constraints.Constraint": once(_pymunk_constraint),
    "ale_py._ale_py.ALEInterface": once(_ale),
    "multi_agent_ale_py.ale_python_interface.ALEInterface": once(_multi_agent_ale),
    "mujoco._structs.MjData": once(_mujoco_data),
    "mujoco._structs.MjModel": once(_mujoco_model),
}


def physics_walker(name: str) -> Optional[Walker]:
    """Return the walker for the type of this name and all that derive from it, or None."""
    return _PHYSICS.get(name)

# Copyright: gpunode contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import datetime

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpunode.stack.plugins.module_utils._node.refusal import Refusal
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller import wanted_state
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.conda import cuda_needs
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.inputs import variables
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.plan import planner
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    catalog,
    selection,
)
from ansible_collections.gpunode.stack.plugins.plugin_utils._controller.stack import (
    plan as stack_plan,
)

_CONTROLLER = "this is the machine that gpunode runs on: it is left to you to reboot it"


class ActionModule(ActionBase):
    """Resolves, probes once and plans one host; see the module of the same name."""

    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _dummy, arguments = self.validate_argument_spec(
            {
                "expect_converged": {"type": "bool", "default": False},
                "components": {"type": "list", "elements": "str", "default": []},
            }
        )
        site = wanted_state.site_of(task_vars, self._templar)
        states, refusals = _resolve(site)
        asked, unclear = _stack(site)
        refusals += unclear
        refusals += variables.unknown(
            task_vars, wanted_state.known_variables(), [*wanted_state.COMPONENTS, "gpunode"]
        )
        answer = self._execute_module(
            "gpunode.stack.node_info", module_args=_probe(states), task_vars=task_vars
        )
        if "gpunode_facts" not in answer:
            return answer
        facts = answer["gpunode_facts"]
        for component, state in states.items():
            refusals += wanted_state.COMPONENTS[component].refusals(state, facts)
        gpu = _without_unsaid(_stack_plan(asked, states, facts), states)
        gpu["notices"] += _left_loaded(states, facts)
        refusals += gpu.pop("refusals")
        spared = gpu.pop("spared")
        digests = {
            name: site.digest(name)
            for name, state in states.items()
            if name not in spared or wanted_state.COMPONENTS[name].absent(state)
        }
        plan = planner.plan(
            digests, facts["receipts"], refusals, wanted_state.STANDS_ON, gpu["steps"]
        )
        plan["stack"] = gpu
        plan["unwanted"] = {} if refusals else planner.unwanted(_names(states), facts["receipts"])
        plan["wanted"] = {
            component: wanted_state.COMPONENTS[component].summary(states[component])
            for component in digests
        }
        plan["address"] = str(self._templar.template(task_vars.get("ansible_host", "")))
        expected = arguments["expect_converged"] and not self._task.check_mode
        due = planner.due(plan)
        if self._connection.transport == "local" and planner.REBOOT in due:
            due.remove(planner.REBOOT)
            gpu["notices"].append({"rule": "controller", "says": _CONTROLLER})
        left = [name for name in due if name in (arguments["components"] or due)]
        if expected and (left or plan["refusals"]):
            raise AnsibleActionFail(_unfinished(plan, left))
        absent = [
            name
            for name in due
            if name in states and wanted_state.COMPONENTS[name].absent(states[name])
        ]
        return {"changed": False, "plan": plan, "due": due, "absent": absent}


def _resolve(site):
    """Return ({component: wanted state}, [Refusal]) of the components wanted on the host."""
    states, refusals = {}, []
    try:
        components = site.components()
    except Refusal as refusal:
        return {}, [refusal]
    for component in components:
        try:
            states[component] = site.wanted(component)
        except Refusal as refusal:
            refusals.append(refusal)
    return states, refusals


def _stack(site):
    """Return (wanted GPU stack, [Refusal]); what cannot be understood is not wanted either."""
    try:
        return site.stack(), []
    except Refusal as refusal:
        return selection.NOTHING, [refusal]


def _stack_plan(asked, states, facts):
    """Return the plan of the GPU stack; where none is wanted, environments may need a driver."""
    environments = states.get("conda_env", {}).get("environments", [])
    return {
        "name": asked["name"],
        **stack_plan.plan(
            asked,
            facts,
            catalog.of_project(),
            cuda_needs.of(environments),
            f"{datetime.date.today():%Y-%m}",
        ),
    }


def _without_unsaid(gpu, states):
    """Return the plan without the steps of components of which nothing was said.

    That is the licence of a guest, which others may look after.
    """
    unsaid = {"vgpu_license"} - states.keys()
    for step in gpu["steps"]:
        if step["component"] in unsaid:
            says = f"{'; '.join(step['why'])}: say vgpu_license_token or vgpu_license_server"
            gpu["notices"].append({"rule": "license-unsaid", "says": says})
    return {**gpu, "steps": [row for row in gpu["steps"] if row["component"] not in unsaid]}


def _left_loaded(states, facts):
    """Return the notices of a driver that was removed and is still in memory.

    No reboot follows from it: a container may have loaded it, and would again.
    """
    driver = facts["driver"]
    is_gone = not driver["modules"] and not driver["libraries"]
    if states.get("nvidia_driver", {}).get("state") != "absent" or not is_gone:
        return []
    version = driver["loaded"]["version"]
    says = f"driver {version} is on disk no more, and stays loaded until the host is rebooted"
    return [{"rule": "left-loaded", "says": says}] if version else []


def _probe(states):
    """Return the arguments of node_info: what the plan must know of the host, each thing once."""
    asked = [wanted_state.COMPONENTS[component].probe(state) for component, state in states.items()]
    return {
        key: sorted({item for probe in asked for item in probe.get(key, ())})
        for key in ("paths", "users", "units")
    }


def _names(states):
    """Return {component: names of all that its state speaks of}."""
    return {
        component: wanted_state.COMPONENTS[component].present(state)
        + wanted_state.COMPONENTS[component].absent(state)
        for component, state in states.items()
    }


def _unfinished(plan, left):
    """Return the sentence for a host of which components are still due after it was converged."""
    reasons = [f"{name}: {'; '.join(plan['components'][name]['why'])}" for name in left]
    reasons += [f"{refusal['what']}: {refusal['because']}" for refusal in plan["refusals"]]
    return f"The host was converged and still is not as wanted. {'. '.join(reasons)}"

"""The LLM roles (2406.08713): Generator, Gradient Calculator, Instruction Modifier; chat models; the offline agents."""

from agents.chat import make_chat_model
from agents.contrasts import Contrast, select_contrasts
from agents.generator import IdentityRefiner, LLMRefiner
from agents.gradient import LLMGradientCalculator
from agents.guards import KEEP_RULES, leaks
from agents.initial import INITIAL_INSTRUCTION, frequent_instruction
from agents.messages import Templates, load_templates
from agents.modifier import LLMInstructionModifier
from agents.settings import AgentSettings, Sampling, settings_for

__all__ = [
    "INITIAL_INSTRUCTION",
    "KEEP_RULES",
    "AgentSettings",
    "Contrast",
    "IdentityRefiner",
    "LLMGradientCalculator",
    "LLMInstructionModifier",
    "LLMRefiner",
    "Sampling",
    "Templates",
    "frequent_instruction",
    "leaks",
    "load_templates",
    "make_chat_model",
    "select_contrasts",
    "settings_for",
]

"""The types of what calls return and take.

from modelry.types import Run, Version

def newest(versions: list[Version]) -> Version: ...
"""

from __future__ import annotations

from modelry._sdk.client import Client
from modelry._sdk.evaluating.result import EvaluationResult
from modelry._sdk.evaluating.thresholds import Verdict
from modelry._sdk.files.console import ConsoleLine
from modelry._sdk.files.keyed import KeyedFile
from modelry._sdk.fluent.active_run import ActiveRun
from modelry._sdk.nouns.aliases import Alias
from modelry._sdk.nouns.artifacts import Artifact, Uploaded
from modelry._sdk.nouns.audit import AuditRecord
from modelry._sdk.nouns.comparisons import ComparedMetric, VersionComparison
from modelry._sdk.nouns.datasets import Dataset, DatasetInput
from modelry._sdk.nouns.enums import Lifecycle, LifecycleFilter, RunStatus
from modelry._sdk.nouns.evaluations import Evaluation, Interval
from modelry._sdk.nouns.events import Event, EventList
from modelry._sdk.nouns.experiments import Experiment
from modelry._sdk.nouns.groups import Group, GroupMember
from modelry._sdk.nouns.lazy_list import LazyList
from modelry._sdk.nouns.metrics import MetricColumns, MetricSummary, Point
from modelry._sdk.nouns.models import Model
from modelry._sdk.nouns.places import Place
from modelry._sdk.nouns.principals import Caller, FirstAdministrator, Grant, Principal, PrincipalKind
from modelry._sdk.nouns.promotions import Promoted, Promotion
from modelry._sdk.nouns.roles import Role, RoleBinding
from modelry._sdk.nouns.runs import HeartbeatsIgnored, Run
from modelry._sdk.nouns.signatures import Flavor, Signature
from modelry._sdk.nouns.tokens import IssuedToken, Token
from modelry._sdk.nouns.usage import Used, WorkspaceUsage
from modelry._sdk.nouns.verification import AuditVerification
from modelry._sdk.nouns.versions import Version
from modelry._sdk.nouns.workspaces import Workspace, WorkspaceQuotas
from modelry._sdk.packaging.logged import LoggedModel
from modelry._sdk.recording.sync import SyncReport

__all__ = [
    "ActiveRun",
    "Alias",
    "Artifact",
    "AuditRecord",
    "AuditVerification",
    "Caller",
    "Client",
    "ComparedMetric",
    "ConsoleLine",
    "Dataset",
    "DatasetInput",
    "Evaluation",
    "EvaluationResult",
    "Event",
    "EventList",
    "Experiment",
    "FirstAdministrator",
    "Flavor",
    "Grant",
    "Group",
    "GroupMember",
    "HeartbeatsIgnored",
    "Interval",
    "IssuedToken",
    "KeyedFile",
    "LazyList",
    "Lifecycle",
    "LifecycleFilter",
    "LoggedModel",
    "MetricColumns",
    "MetricSummary",
    "Model",
    "Place",
    "Point",
    "Principal",
    "PrincipalKind",
    "Promoted",
    "Promotion",
    "Role",
    "RoleBinding",
    "Run",
    "RunStatus",
    "Signature",
    "SyncReport",
    "Token",
    "Uploaded",
    "Used",
    "Verdict",
    "Version",
    "VersionComparison",
    "Workspace",
    "WorkspaceQuotas",
    "WorkspaceUsage",
]

/** What the API tells of bundles, deployments and scenarios. */

export interface BundleInfo {
  digest: string;
  project: string;
  sequence: number;
  source: string;
  author: string;
  notes: string;
  bytes: number;
  received_at: string;
  received_by: string;
  made_here: boolean;
}

/** A bundle to make. */
export interface NewBundle {
  notes: string;
  /** The nodes that it is meant for; none for any. */
  targets: string[];
  /** From when on no node takes it; null for never. */
  expires: string | null;
  /** The datasets whose data is to travel. */
  with_data: string[];
}

export interface ObjectDiff {
  kind: string;
  name: string;
  change: 'added' | 'changed' | 'removed';
  files: { path: string; change: string; diff: string | null }[];
}

export interface Approval {
  person: string;
  feedback: 'approve' | 'minor' | 'major' | null;
  final: 'approve' | 'reject' | null;
  comment: string;
  made_at: string;
}

/** What becomes of the logged edits of one original. */
export interface PlanEffect {
  original: string;
  events: number;
  not_editable: number;
  misfits: number;
  orphans: number;
  rekeyed: number;
}

/** A logged edit that would no longer fit. */
export interface PlanEdit {
  event: number;
  key: string;
  column: string | null;
  value: string | null;
  fate: 'not_editable' | 'misfit' | 'orphan' | 'rekeyed';
}

export interface Plan {
  project: string;
  digest: string;
  sequence: number;
  /** Whether it goes back to a bundle that was active before. */
  rollback: boolean;
  source: string;
  author: string;
  notes: string;
  current: string | null;
  blockers: string[];
  warnings: string[];
  signed_by: string[];
  approvals: Approval[];
  approved: boolean;
  counted: string[];
  objects: { kind: string; name: string; effect: string; drifted: boolean }[];
  connections: { name: string; kind_there: string | null; kind_here: string | null }[];
  webapps: { name: string; effect: string; opens?: boolean }[];
  builds: string[];
  editlogs_to_initialise: string[];
  /** For each of them, who makes it and how. */
  first_steps: string[];
  edits: PlanEffect[];
  data: { file: string; effect: string; bytes: number }[];
}

export type Health = 'not_deployed' | 'healthy' | 'warning' | 'out_of_sync' | 'unhealthy';

export interface Activation {
  id: string;
  digest: string;
  sequence: number;
  kind: 'activate' | 'rollback';
  state: 'started' | 'done' | 'failed';
  by: string;
  at: string;
  error: string | null;
  approved_by: string[];
  warnings: string[];
}

export interface Deployment {
  project: string;
  health: Health;
  reasons: string[];
  deployed: Activation | null;
  drift: { file: string; change: string }[];
  activations: Activation[];
  events: { id: number; at: string; actor: string; kind: string; digest: string | null; text: string }[];
}

export interface ScenarioRun {
  id: string;
  scenario: string;
  state: 'running' | 'done' | 'failed' | 'interrupted';
  started_by: string;
  started_at: string;
  finished_at: string | null;
  error: string | null;
  steps: string[];
  steps_done: number;
  log?: { at: string; text: string }[];
}

export interface Scenario {
  name: string;
  title: string;
  description: string;
  steps: string[];
  ready_made: boolean;
  resets: boolean;
  last_run: ScenarioRun | null;
}

/** A node to which this one sends bundles. */
export interface Target {
  name: string;
  address: string;
  node_id: string;
  added_at: string;
  added_by: string;
}

export interface TargetTest {
  works: boolean;
  reason: string | null;
  node: { id: string; name: string; role: string; stet: string; time: string } | null;
  /** In seconds; negative when its clock is behind this node's. */
  clock_ahead_s: number | null;
}

/** A bundle that is being sent, or was. */
export interface PushState {
  id: string;
  digest: string;
  target: string;
  bytes_sent: number;
  bytes: number;
  state: 'running' | 'done' | 'failed';
  error: string | null;
  report: { node: string; was_there: boolean; activated: boolean; warnings: string[] } | null;
}

/** A token with which another node brings its bundles here, without its secret. */
export interface DeployToken {
  name: string;
  state: 'active' | 'expired' | 'revoked';
  /** Empty for all projects. */
  projects: string[];
  may_bring_approvals: boolean;
  may_activate: boolean;
  created_by: string;
  created_at: string;
  expires_at: string | null;
}

/** A deploy token that was made just now, with what the other node has to know. */
export interface NewDeployToken {
  name: string;
  token: string;
  node_id: string;
  address: string | null;
}

/** What travels between the front end and the server under `/api/v1/`. A cell is always text or null (empty). */

export type Cell = string | null;

export interface Session {
  user: { login: string; name: string; profile: 'reader' | 'designer' | 'admin' };
  node: { name: string; role: 'design' | 'automation'; version: string };
  /** Whether a second factor has to be set up before anything else. */
  second_factor_due: boolean;
}

export interface WebappSummary {
  name: string;
  title: string;
  description: string | null;
  original: string;
}

export interface ProjectSummary {
  key: string;
  name: string;
  description: string | null;
  webapps: WebappSummary[];
}

export interface Project extends ProjectSummary {
  datasets: { name: string; role: DatasetRole }[];
  /** What you may do in it. */
  permissions: string[];
}

/** Groups and users. */
export interface People {
  users: string[];
  groups: string[];
}

/** Who may use a webapp: those listed; with an empty list, everybody with `read_dashboards`. */
export interface Access extends People {
  view_only: People;
  public: 'no' | 'read' | 'edit';
}

/** Who may do what in a project. */
export interface ProjectAccess {
  /** To be sent back with a change. */
  version: string;
  groups: Record<string, string[]>;
  users: Record<string, string[]>;
  webapps: ({ name: string; title: string; version: string } & Access)[];
  known_groups: string[];
  /** Why nothing can be changed here. */
  fixed: string | null;
}

export type DatasetRole = 'original' | 'linked' | 'editlog' | 'editlog_pivoted' | 'edited' | 'derived';
export type RecipeKind = 'replay' | 'apply' | 'sql';
export type DatasetState = 'source' | 'fresh' | 'stale' | 'never_built' | 'building' | 'failed' | 'missing' | 'live';

export interface FlowNode {
  id: string;
  kind: 'dataset' | 'recipe' | 'webapp';
  name: string;
  layer: number;
  role?: DatasetRole | null;
  recipe_kind?: RecipeKind | null;
  state?: DatasetState | null;
  /** Plain words why the dataset is stale, failed or missing. */
  reason?: string | null;
  built_at?: string | null;
  rows?: number | null;
  bytes?: number | null;
  path?: string | null;
  /** Number of edits; of an editlog only. */
  events?: number | null;
  buildable?: boolean;
}

export interface Flow {
  nodes: FlowNode[];
  edges: { from: string; to: string }[];
}

export type ColumnType = 'text' | 'integer' | 'number' | 'boolean' | 'date' | 'datetime' | 'other';

export interface DatasetColumn {
  name: string;
  type: ColumnType;
  key?: boolean;
}

export interface Dataset {
  name: string;
  role: DatasetRole;
  state: DatasetState;
  reason: string | null;
  columns: DatasetColumn[];
  rows: number | null;
  bytes: number | null;
  format: string | null;
  path: string | null;
  built_at: string | null;
  report: Report | null;
}

export interface DatasetRows {
  columns: DatasetColumn[];
  rows: Cell[][];
  offset: number;
  total: number | null;
}

/** Events that a build could not use as they are, the first of them listed. */
export interface Leftovers {
  count: number;
  items: { event: number; key: string; column: string | null; value: Cell; reason: string }[];
}

export interface FileHash {
  path: string;
  bytes: number;
  sha256: string;
}

/** What a build did. Which fields there are depends on the recipe: replay, apply or SQL. */
export interface Report {
  rows_in?: number;
  rows_out?: number;
  events?: number;
  keys?: number;
  edits_applied?: number;
  rows_created?: number;
  rows_deleted?: number;
  orphans?: Leftovers;
  misfits?: Leftovers;
  not_editable?: Leftovers;
  stale?: { needed: number; agrees: number; source_changed: number; orphan: number };
  inputs?: (FileHash & { dataset: string })[];
  log_position?: number;
  output?: FileHash;
  duration_ms?: number;
}

export type BuildMode = 'required' | 'only' | 'force';
export type JobState = 'queued' | 'running' | 'done' | 'failed' | 'cancelled';

export interface JobStep {
  dataset: string;
  recipe: string;
  state: 'waiting' | 'running' | 'done' | 'fresh' | 'failed' | 'cancelled';
  report: Report | null;
}

export interface LogLine {
  at: string;
  text: string;
}

export interface Job {
  id: string;
  project: string;
  dataset: string;
  mode: BuildMode;
  state: JobState;
  started_by: string;
  started_at: string;
  finished_at: string | null;
  error: string | null;
  progress: { step: number; steps: number; dataset: string | null; rows_done: number; rows_total: number | null };
  steps: JobStep[];
  /** Left out of lists and of live messages. */
  log?: LogLine[];
}

export interface ColumnLink {
  dataset: string;
  key: string;
  label: string;
  lookups: string[];
}

export interface WebappColumn {
  name: string;
  title: string;
  type: ColumnType;
  key: boolean;
  editable: boolean;
  in_original: boolean;
  multiline: boolean;
  required: boolean;
  validation: boolean;
  comments: boolean;
  allowed: string[] | null;
  min: string | null;
  max: string | null;
  min_length: number | null;
  max_length: number | null;
  pattern: string | null;
  link: ColumnLink | null;
  width: number | null;
  description: string | null;
}

export interface Webapp {
  project: string;
  name: string;
  title: string;
  description: string | null;
  original: string;
  primary_keys: string[];
  columns: WebappColumn[];
  validation_column: string | null;
  /** The column with the login of the person whose row it is, if there is one. */
  assigned_to?: string | null;
  rows: { create: boolean; delete: boolean };
  /** Whether each change has to come with a reason. */
  require_reason: boolean;
  /** Whether ticking the validation column asks for the password again. */
  sign_validations: boolean;
  /** Why nothing can be edited, in plain words; null when editing is allowed. */
  read_only: string | null;
  version: number;
  snapshot: string;
  total: number;
  original_changed: boolean;
}

export const filterOperators = [
  'contains',
  'not_contains',
  'equals',
  'not_equals',
  'starts_with',
  'ends_with',
  'between',
  'blank',
  'not_blank',
  'in',
] as const;
export type FilterOperator = (typeof filterOperators)[number];

export interface Filter {
  column: string;
  op: FilterOperator;
  value?: string;
  from?: string;
  to?: string;
  values?: string[];
}

export const rowStates = ['edited', 'stale', 'mine', 'created', 'assigned'] as const;
export type RowState = (typeof rowStates)[number];

export interface Query {
  sort: { column: string; descending: boolean }[];
  filters: Filter[];
  states: RowState[];
}

export type GroupSort = 'count' | 'value';

/** Rows that have the same values. */
export interface Group {
  /** In the order of the columns grouped by; null for empty, which the empty text is not. */
  values: Cell[];
  count: number;
}

export interface Groups {
  version: number;
  snapshot: string;
  by: string[];
  /** Rows in all groups. */
  rows: number;
  /** How many groups there are. */
  total: number;
  offset: number;
  groups: Group[];
  links: Links;
}

export interface OpenTable {
  project: string;
  webapp: string;
  rows: number;
  rows_edited: number;
  own_bytes: number;
  mapped_bytes: number;
  orders: number;
  order_bytes: number;
  log_position: number;
  listeners: number;
  last_used: string;
}

/** How the node stands; sizes in bytes. */
/** An editlog in a database, and how it stands. */
export interface EditlogStatus {
  project: string;
  dataset: string;
  mode: 'simple' | 'secure' | null;
  events: number | null;
  sealed: number | null;
  behind_ms: number | null;
  protection: string[];
  alarm: string | null;
  checked_at: string | null;
}

/** How a log, or all of them, stand at a place that checkpoints are pushed to. */
export interface PushStatus {
  place: string;
  kind: 'folder' | 's3' | 'witness';
  size: number | null;
  reached_at: string | null;
  failure: string | null;
  failing_since: string | null;
}

/** How far the audit trail is shipped to one place. */
export interface ShippingStatus {
  to: string;
  shipped: number | null;
  waiting: number;
  failure: string | null;
  failing_since: string | null;
  late: boolean;
}

export interface Verification {
  started_by: string;
  started_at: string;
  ended_at: string | null;
  done: number;
  all: number;
  state: 'running' | 'whole' | 'not_whole' | 'incomplete' | 'cancelled' | 'failed';
  told: string[];
}

/** How the log of a table is sealed, and where that is known. */
export interface SealState {
  events: number;
  sealed: number;
  root: string | null;
  sealed_up_to: string | null;
  pushes: PushStatus[];
  protection: string[];
  alarm: string | null;
  may_verify: boolean;
  verification: Verification | null;
}

export interface Status {
  version: string;
  webapps: OpenTable[];
  editlogs: EditlogStatus[];
  pushes: PushStatus[];
  audit: ShippingStatus[];
  resident_bytes: number | null;
  own_bytes: number | null;
  streams: number;
  limits: {
    order_bytes_max: number;
    webapp_idle_minutes: number;
    groups_max: number;
    page_rows_max: number;
    streams_max: number;
  };
}

export interface CellEdit {
  event: number;
  user: string;
  date: string;
  state: 'needed' | 'agrees' | 'source_changed' | 'reverted' | 'misfit';
  original: Cell;
}

export interface Row {
  key: string;
  cells: Cell[];
  event: number | null;
  created: boolean;
  edits: Record<string, CellEdit>;
}

export interface LinkLabel {
  label: string | null;
  lookups: Cell[];
}

export type Links = Record<string, Record<string, LinkLabel>>;

export interface RowPage {
  version: number;
  snapshot: string;
  total: number;
  /** Whether there may be more than `total`; absent when there are not. */
  total_pending?: boolean;
  offset: number;
  rows: Row[];
  links: Links;
}

export interface EditRequest {
  event_id: string;
  action: 'update' | 'revert' | 'create' | 'delete';
  key?: string;
  column?: string | null;
  value?: Cell;
  seen?: number | null;
  /** For the tick of a validation column: the newest event seen in the row, or null. */
  seen_row?: number | null;
  previous?: Cell;
  values?: Record<string, Cell>;
}

export interface EditBatch {
  batch_id: string;
  source: 'grid' | 'paste' | 'fill' | 'undo';
  atomic?: boolean;
  reason?: string;
  signature?: { password: string };
  edits: EditRequest[];
}

export type EditResult =
  | { status: 'saved'; event: number; value: Cell }
  | { status: 'unchanged'; value: Cell }
  | { status: 'refused'; rule: string; message: string; value: Cell }
  | {
      status: 'conflict';
      message: string;
      yours: Cell;
      current: { value: Cell; event: number; user: string; date: string; action: string };
    }
  | { status: 'skipped'; message: string };

export interface EditAnswer {
  version: number;
  results: EditResult[];
  rows: Row[];
  deleted: string[];
  links: Links;
}

/** Which events of a log; those that fit everything that is said. */
export interface LogFilter {
  user?: string;
  action?: string;
  key?: string;
  column?: string;
  batch_id?: string;
  source?: string;
  since?: string;
  until?: string;
}

/** An event of the log: an edit, or one about the log itself, whose key is no row. */
export interface LogEvent extends Omit<HistoryEvent, 'action'> {
  action: HistoryEvent['action'] | 'erase' | 'note';
  key: string;
}

export interface LogPage {
  events: LogEvent[];
  before: number | null;
  position: number;
}

export interface RevertChange {
  key: string;
  column: string | null;
  action: 'update' | 'create' | 'delete' | 'revert';
  from: Cell;
  to: Cell;
}

export interface RevertPlan {
  events: number;
  up_to: number;
  count: number;
  overtaken: number;
  changes: RevertChange[];
}

export interface Reverted {
  batch_id: string;
  changed: number;
  failed: (RevertChange & { result: { status: string; message?: string } })[];
}

export interface HistoryEvent {
  id: number;
  date: string;
  user: string;
  action: 'update' | 'create' | 'delete' | 'revert';
  column: string | null;
  value: Cell;
  previous: Cell;
  source: string;
  reason: string | null;
  batch_id: string | null;
}

export interface LinkOptions {
  options: { value: string; label: string | null; lookups: Cell[] }[];
  more: boolean;
}

export interface Presence {
  user: string;
  name: string;
  session: string;
  key: string | null;
  column: string | null;
  editing: boolean;
}

/** Public interface of the data grid: what a page gives it and what it gives back. */

import type { WaitProgress } from '../lib/wait';

/** Type of a column's values; `other` is shown and never edited. */
export type ColumnType = 'text' | 'integer' | 'number' | 'boolean' | 'date' | 'datetime' | 'other';

/** A reference to rows of another dataset, offered by search while editing. */
export interface ColumnLink {
  dataset: string;
  key: string;
  label: string;
  lookups: string[];
}

export interface Column {
  name: string;
  title: string;
  type: ColumnType;
  key: boolean;
  editable: boolean;
  multiline: boolean;
  required: boolean;
  /** Ticking this column approves the whole row. */
  validation: boolean;
  comments: boolean;
  allowed: string[] | null;
  min: string | null;
  max: string | null;
  link: ColumnLink | null;
  /** Width in CSS pixels; null lets the grid choose from the first page. */
  width: number | null;
  description: string | null;
}

/** The override that stands on one cell. */
export interface CellEdit {
  event: number;
  user: string;
  date: string;
  state: 'needed' | 'agrees' | 'source_changed' | 'reverted' | 'misfit';
  original: string | null;
}

export interface Row {
  key: string;
  /** Canonical text of each cell in the order of `columns`; null is an empty cell. */
  cells: (string | null)[];
  /** Last event about the row as a whole. */
  event: number | null;
  created: boolean;
  edits: Record<string, CellEdit>;
}

export interface LinkLabel {
  label: string | null;
  lookups: (string | null)[];
}

/** Labels of linked values: column, then value. */
export type Links = Record<string, Record<string, LinkLabel>>;

export type FilterOp =
  | 'contains'
  | 'not_contains'
  | 'equals'
  | 'not_equals'
  | 'starts_with'
  | 'ends_with'
  | 'between'
  | 'blank'
  | 'not_blank'
  | 'in';

export interface Filter {
  column: string;
  op: FilterOp;
  value?: string;
  from?: string;
  to?: string;
  values?: string[];
}

export interface Sort {
  column: string;
  descending: boolean;
}

export interface Query {
  sort: Sort[];
  filters: Filter[];
  /** Row states, any of them: `edited`, `stale`, `mine`, `created`. */
  states: string[];
}

export interface Page {
  version: number;
  snapshot: string;
  /** Rows that match the query. */
  total: number;
  /** Whether there may be more than `total`, as not all rows were looked at yet. */
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
  value?: string | null;
  seen?: number | null;
  /** For the tick of a validation column: the newest event seen in the row, or null. */
  seen_row?: number | null;
  previous?: string | null;
  values?: Record<string, string | null>;
}

/** The value that stands on the server when an edit met somebody else's. */
export interface CurrentValue {
  value: string | null;
  event: number;
  user: string;
  date: string;
  action: string;
}

export type EditResult =
  | { status: 'saved'; event: number; value: string | null }
  | { status: 'unchanged'; value: string | null }
  | { status: 'refused'; rule: string; message: string; value: string | null }
  | { status: 'conflict'; message: string; yours: string | null; current: CurrentValue }
  | { status: 'skipped'; message: string };

export interface EditAnswer {
  version: number;
  results: EditResult[];
  rows: Row[];
  deleted: string[];
  links: Links;
}

export type EditSource = 'grid' | 'paste' | 'fill' | 'undo';

export interface EditBatch {
  batch_id: string;
  source: EditSource;
  atomic?: boolean;
  edits: EditRequest[];
}

export interface HistoryEvent {
  id: number;
  date: string;
  user: string;
  action: string;
  column: string | null;
  value: string | null;
  previous: string | null;
  source: string | null;
  reason: string | null;
  batch_id: string | null;
}

export interface LinkOption {
  value: string;
  label: string | null;
  lookups: (string | null)[];
}

/** How a page is asked for. */
export interface PageRequest {
  /** Names what waits for the rows, for `progress` and `cancel`. */
  wait?: string;
  /** Whether the rows may come before their number is known; `exact` without it. */
  count?: 'exact' | 'later';
}

/** Where rows come from and where edits go. The grid has no other way out. */
export interface RowSource {
  page(query: Query, offset: number, limit: number, signal: AbortSignal, how?: PageRequest): Promise<Page>;
  /** How far the rows are that pages wait for. Without it a wait is shown all the same. */
  progress?(wait: string, signal: AbortSignal): Promise<WaitProgress>;
  /** The rows are wanted no more, and need not be worked out. */
  cancel?(wait: string): Promise<void>;
  /** Rejects with an `Error` whose message is shown when the server cannot be reached; the grid then
   *  keeps every value as a draft and sends it again with the same `event_id`. */
  edit(batch: EditBatch): Promise<EditAnswer>;
  history(key: string, column: string): Promise<{ original: string | null; events: HistoryEvent[] }>;
  links(column: string, term: string, signal: AbortSignal): Promise<{ options: LinkOption[]; more: boolean }>;
}

export interface GridStatus {
  total: number;
  /** Whether there may be more rows than `total`: they are still counted. */
  counting: boolean;
  /** Cells sent and not answered yet. */
  pending: number;
  /** Values that the server has not taken: refused, in conflict, or not sent. */
  drafts: number;
  /** Null unless more than one cell is selected. */
  selection: { rows: number; cells: number } | null;
  loading: boolean;
  error: string | null;
}

export interface Presence {
  user: string;
  name: string;
  session: string;
  key: string | null;
  column: string | null;
  editing: boolean;
}

export interface Draft {
  key: string;
  column: string;
  value: string | null;
  message: string;
}

export interface GridOptions {
  columns: Column[];
  source: RowSource;
  /** Why nothing can be edited, in plain words; null when the grid is writable. */
  readOnly: string | null;
  /** Accessible name of the table. */
  label: string;
  query?: Query;
  /** How many rows there are without filters, as far as known: their numbers are given room while rows are counted. */
  rows?: number;
  onStatus?(status: GridStatus): void;
  onActiveCell?(cell: { key: string | null; column: string | null; editing: boolean }): void;
  onQuery?(query: Query): void;
  /** Somebody wants the rows grouped by a column; without it no menu offers that. */
  onGroup?(column: string): void;
  onMessage?(message: { kind: 'info' | 'error'; text: string }): void;
}

export interface Grid {
  /** Fetches the visible pages again; scroll position and active cell stay. */
  refresh(): void;
  /** Puts others' edits into the loaded rows in place, with a short highlight. */
  patch(rows: Row[], deleted: string[], links: Links, version: number): void;
  setPresence(presence: Presence[]): void;
  setQuery(query: Query): void;
  query(): Query;
  undo(): void;
  redo(): void;
  focus(): void;
  setColumns(columns: Column[]): void;
  setReadOnly(reason: string | null): void;
  drafts(): Draft[];
  destroy(): void;
}

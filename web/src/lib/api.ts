/** Every call to the server, typed. A failure is always an `ApiError` with a sentence to show. */
import type {
  Access,
  BuildMode,
  Cell,
  Dataset,
  DatasetRows,
  EditAnswer,
  EditBatch,
  Flow,
  GroupSort,
  Groups,
  HistoryEvent,
  Job,
  LinkOptions,
  LogFilter,
  LogPage,
  Project,
  ProjectAccess,
  ProjectSummary,
  Query,
  RevertPlan,
  Reverted,
  RowPage,
  SealState,
  Session,
  Status,
  Webapp,
} from './types';
import type { PageRequest } from '../grid/types';
import type { WaitProgress } from './wait';
import type { PasskeyAnswer } from './passkeys';
import type { BundleInfo, Deployment, NewBundle, ObjectDiff, Plan, Scenario, ScenarioRun } from './deploy-types';

const base = '/api/v1';

/** A refused or failed call. `message` is one plain sentence for the person. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    message: string,
    /** The HTTP status; 0 when the server could not be reached. */
    readonly status: number,
    /** Further members of the problem document, such as the lines that were refused. */
    readonly problem: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }

  get unreachable(): boolean {
    return this.status === 0;
  }
}

/** Told when the session has ended; set once by the application. */
let onUnauthorized: () => void = () => undefined;

export function setUnauthorizedHandler(handler: () => void): void {
  onUnauthorized = handler;
}

const wordsByStatus: Record<number, string> = {
  401: 'Please sign in.',
  403: 'This was refused. Reload the page and try again.',
  404: 'This does not exist, or you have no access to it.',
  409: 'Somebody else was faster. Reload to see the present state.',
  413: 'This is too much for one request. Try a smaller part.',
  422: 'The server did not accept this.',
  429: 'Too many requests at once. Wait a moment and try again.',
  502: 'The server cannot be reached at the moment. Try again shortly.',
  503: 'The server is busy or starting. Try again shortly.',
  504: 'The server took too long to answer. Try again shortly.',
};

/** The error for an answer that is no success, from its problem document (RFC 9457) if it has one. */
export async function errorOf(response: Response): Promise<ApiError> {
  let problem: Record<string, unknown> = {};
  if (/^application\/(problem\+)?json\b/.test(response.headers.get('content-type') ?? '')) {
    try {
      const body: unknown = await response.json();
      if (typeof body === 'object' && body !== null) problem = body as Record<string, unknown>;
    } catch {
      // A body cut short tells nothing; the status still does.
    }
  }
  const told = [problem.detail, problem.title].find((text) => typeof text === 'string' && text !== '');
  const words =
    (told as string | undefined) ??
    wordsByStatus[response.status] ??
    (response.status >= 500
      ? 'Something went wrong on the server. Your data is safe; try again.'
      : `The server answered in an unexpected way (${response.status}).`);
  return new ApiError(words, response.status, problem);
}

interface CallOptions {
  body?: unknown;
  /** A file to send as it is, instead of a body. */
  file?: File;
  signal?: AbortSignal | undefined;
  /** Sign-in itself answers 401 for wrong words; that ends no session. */
  keepOnUnauthorized?: boolean;
}

export async function call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
  const init: RequestInit = {
    method,
    credentials: 'same-origin',
    headers: {
      Accept: 'application/json, application/problem+json',
      // Always sent with a change: a foreign page cannot send it without being asked for permission first.
      ...(method === 'GET' ? {} : { 'Content-Type': options.file ? 'application/octet-stream' : 'application/json' }),
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    ...(options.file ? { body: options.file } : {}),
    ...(options.signal ? { signal: options.signal } : {}),
  };
  let response: Response;
  try {
    response = await fetch(base + path, init);
  } catch (cause) {
    if (isAbort(cause)) throw cause;
    throw new ApiError('The server cannot be reached. Check your connection; nothing is lost.', 0);
  }
  if (!response.ok) {
    const error = await errorOf(response);
    if (response.status === 401 && !options.keepOnUnauthorized) onUnauthorized();
    throw error;
  }
  if (response.status === 204) return undefined as T;
  try {
    const text = await response.text();
    return (text === '' ? undefined : JSON.parse(text)) as T;
  } catch (cause) {
    if (isAbort(cause)) throw cause;
    throw new ApiError('The answer of the server was cut short. Try again.', 0);
  }
}

/** Whether an error only says that the caller lost interest. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}

/** The sentence to show for any error. */
export function messageOf(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  return error instanceof Error && error.message !== ''
    ? `Something went wrong in this page: ${error.message}`
    : 'Something went wrong in this page. Reload it and try again.';
}

const part = encodeURIComponent;
const projectPath = (project: string): string => `/projects/${part(project)}`;
const webappPath = (project: string, webapp: string): string => `${projectPath(project)}/webapps/${part(webapp)}`;

type Signal = AbortSignal | undefined;

export const api = {
  signIn: (
    login: string,
    password: string,
    code: string | null = null,
    passkey: PasskeyAnswer | null = null,
  ): Promise<Session> =>
    call('POST', '/session', {
      body: { login, password, ...(code === null ? {} : { code }), ...(passkey === null ? {} : { passkey }) },
      keepOnUnauthorized: true,
    }),
  /** What there is to sign in with beside a password. */
  signInOptions: (signal?: AbortSignal): Promise<{ provider: string | null }> =>
    call('GET', '/session/options', { signal, keepOnUnauthorized: true }),
  session: (): Promise<Session> => call('GET', '/session', { keepOnUnauthorized: true }),
  status: (signal?: Signal): Promise<Status> => call('GET', '/status', { signal }),
  signOut: (): Promise<void> => call('DELETE', '/session', { keepOnUnauthorized: true }),

  projects: (signal?: Signal): Promise<{ projects: ProjectSummary[] }> => call('GET', '/projects', { signal }),
  project: (project: string, signal?: Signal): Promise<Project> => call('GET', projectPath(project), { signal }),
  flow: (project: string, signal?: Signal): Promise<Flow> => call('GET', `${projectPath(project)}/flow`, { signal }),

  dataset: (project: string, dataset: string, signal?: Signal): Promise<Dataset> =>
    call('GET', `${projectPath(project)}/datasets/${part(dataset)}`, { signal }),
  datasetRows: (
    project: string,
    dataset: string,
    offset: number,
    limit: number,
    signal?: Signal,
  ): Promise<DatasetRows> =>
    call('GET', `${projectPath(project)}/datasets/${part(dataset)}/rows?offset=${offset}&limit=${limit}`, { signal }),

  builds: (project: string, signal?: Signal): Promise<{ jobs: Job[] }> =>
    call('GET', `${projectPath(project)}/builds`, { signal }),
  build: (project: string, id: string, signal?: Signal): Promise<Job> =>
    call('GET', `${projectPath(project)}/builds/${part(id)}`, { signal }),
  startBuild: (project: string, dataset: string, mode: BuildMode): Promise<Job> =>
    call('POST', `${projectPath(project)}/builds`, { body: { dataset, mode } }),
  cancelBuild: (project: string, id: string): Promise<Job> =>
    call('DELETE', `${projectPath(project)}/builds/${part(id)}`),
  flowEvents: (project: string): string => `${base}${projectPath(project)}/events`,

  webapp: (project: string, webapp: string, signal?: Signal): Promise<Webapp> =>
    call('GET', webappPath(project, webapp), { signal }),
  rows: (
    project: string,
    webapp: string,
    query: Query,
    offset: number,
    limit: number,
    signal?: Signal,
    asOf: string | null = null,
    how: PageRequest = {},
  ): Promise<RowPage> =>
    call('POST', `${webappPath(project, webapp)}/rows/query`, {
      body: { offset, limit, ...query, ...(asOf === null ? {} : { as_of: asOf }), ...how },
      signal,
    }),
  groups: (
    project: string,
    webapp: string,
    asked: { by: string[]; query: Query; sort: GroupSort; offset: number; limit: number },
    signal?: Signal,
    wait?: string,
  ): Promise<Groups> => {
    const { by, query, sort, offset, limit } = asked;
    const params = new URLSearchParams({ by: JSON.stringify(by), sort, offset: String(offset), limit: String(limit) });
    if (query.filters.length > 0) params.set('filters', JSON.stringify(query.filters));
    if (query.states.length > 0) params.set('states', JSON.stringify(query.states));
    if (wait !== undefined) params.set('wait', wait);
    return call('GET', `${webappPath(project, webapp)}/groups?${params.toString()}`, { signal });
  },
  /** How far the rows or groups are that were asked for with this name. */
  waitProgress: (project: string, webapp: string, wait: string, signal?: Signal): Promise<WaitProgress> =>
    call('GET', `${webappPath(project, webapp)}/waits/${part(wait)}`, { signal }),
  cancelWait: (project: string, webapp: string, wait: string): Promise<void> =>
    call('DELETE', `${webappPath(project, webapp)}/waits/${part(wait)}`),
  edit: (project: string, webapp: string, batch: EditBatch): Promise<EditAnswer> =>
    call('POST', `${webappPath(project, webapp)}/edits`, { body: batch }),
  history: (
    project: string,
    webapp: string,
    key: string,
    column?: string,
  ): Promise<{ original: Cell; events: HistoryEvent[] }> => {
    const query = new URLSearchParams(column === undefined ? { key } : { key, column });
    return call('GET', `${webappPath(project, webapp)}/history?${query.toString()}`);
  },
  log: (
    project: string,
    webapp: string,
    filter: LogFilter,
    before: number | null,
    limit: number,
    signal?: Signal,
  ): Promise<LogPage> => {
    const query = new URLSearchParams({ ...filter, limit: String(limit) });
    if (before !== null) query.set('before', String(before));
    return call('GET', `${webappPath(project, webapp)}/log?${query.toString()}`, { signal });
  },
  seal: (project: string, webapp: string, signal?: Signal): Promise<SealState> =>
    call('GET', `${webappPath(project, webapp)}/log/seal`, { signal }),
  verify: (project: string, webapp: string): Promise<SealState> =>
    call('POST', `${webappPath(project, webapp)}/log/verification`, { body: {} }),
  cancelVerification: (project: string, webapp: string): Promise<void> =>
    call('DELETE', `${webappPath(project, webapp)}/log/verification`),
  planRevert: (project: string, webapp: string, filter: LogFilter, signal?: Signal): Promise<RevertPlan> =>
    call('POST', `${webappPath(project, webapp)}/revert/plan`, { body: { filter }, signal }),
  revert: (
    project: string,
    webapp: string,
    filter: LogFilter,
    upTo: number,
    reason: string | null,
  ): Promise<Reverted> =>
    call('POST', `${webappPath(project, webapp)}/revert`, { body: { filter, up_to: upTo, reason } }),
  /** The whole log as a file. */
  logFile: (project: string, webapp: string, format: 'csv' | 'json' | 'parquet'): string =>
    `/webapps/${part(project)}/${part(webapp)}/read-all-edits?format=${format}`,
  links: (project: string, webapp: string, column: string, term: string, signal?: Signal): Promise<LinkOptions> =>
    call(
      'GET',
      `${webappPath(project, webapp)}/links/${part(column)}?${new URLSearchParams({ term, limit: '20' }).toString()}`,
      { signal },
    ),
  presence: (
    project: string,
    webapp: string,
    at: { session: string; key: string | null; column: string | null; editing: boolean },
  ): Promise<void> => call('POST', `${webappPath(project, webapp)}/presence`, { body: at }),
  reload: (project: string, webapp: string): Promise<{ snapshot: string }> =>
    call('POST', `${webappPath(project, webapp)}/reload`, { body: {} }),

  access: (project: string, signal?: Signal): Promise<ProjectAccess> =>
    call('GET', `${projectPath(project)}/access`, { signal }),
  setPermissions: (project: string, wanted: Pick<ProjectAccess, 'version' | 'groups' | 'users'>): Promise<ProjectAccess> =>
    call('PUT', `${projectPath(project)}/access`, { body: wanted }),
  setWebappAccess: (project: string, webapp: string, version: string, access: Access): Promise<ProjectAccess> =>
    call('PUT', `${webappPath(project, webapp)}/access`, { body: { version, access } }),

  bundles: (project: string, signal?: Signal): Promise<{ bundles: BundleInfo[] }> =>
    call('GET', `${projectPath(project)}/bundles`, { signal }),
  createBundle: (project: string, bundle: NewBundle): Promise<BundleInfo> =>
    call('POST', `${projectPath(project)}/bundles`, { body: bundle }),
  bringBundle: (file: File): Promise<BundleInfo> => call('POST', '/bundles', { file }),
  bundleDiff: (digest: string, against?: string): Promise<{ objects: ObjectDiff[] }> =>
    call('GET', `/bundles/${part(digest)}/diff${against ? `?against=${part(against)}` : ''}`),
  bundlePlan: (digest: string): Promise<{ plan: Plan }> => call('GET', `/bundles/${part(digest)}/plan`),
  rollbackPlan: (digest: string): Promise<{ plan: Plan }> =>
    call('GET', `/bundles/${part(digest)}/plan?rollback=true`),
  bringApproval: (digest: string, statement: unknown): Promise<unknown> =>
    call('POST', `/bundles/${part(digest)}/approvals`, { body: statement }),
  activateBundle: (digest: string): Promise<{ plan: Plan }> =>
    call('POST', `/bundles/${part(digest)}/activate`, { body: {} }),
  deployment: (project: string, signal?: Signal): Promise<Deployment> =>
    call('GET', `${projectPath(project)}/deployment`, { signal }),
  rollback: (project: string, to: string): Promise<{ plan: Plan }> =>
    call('POST', `${projectPath(project)}/rollback`, { body: { to } }),

  scenarios: (project: string, signal?: Signal): Promise<{ scenarios: Scenario[] }> =>
    call('GET', `${projectPath(project)}/scenarios`, { signal }),
  runScenario: (project: string, scenario: string): Promise<ScenarioRun> =>
    call('POST', `${projectPath(project)}/scenarios/${part(scenario)}/runs`, { body: {} }),
  runs: (project: string, signal?: Signal): Promise<{ runs: ScenarioRun[] }> =>
    call('GET', `${projectPath(project)}/runs`, { signal }),
  run: (project: string, id: string): Promise<ScenarioRun> => call('GET', `${projectPath(project)}/runs/${part(id)}`),

  tableEvents: (project: string, webapp: string): string => `${base}${webappPath(project, webapp)}/events`,
};

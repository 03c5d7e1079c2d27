/**
 * The addresses of Stet and the places they stand for. Pure: the part that touches the browser's history is
 * `navigation.svelte.ts`.
 */

export type Route =
  | { name: 'projects' }
  | { name: 'signin' }
  | { name: 'status' }
  | { name: 'flow'; project: string }
  | { name: 'deployment'; project: string }
  | { name: 'scenarios'; project: string }
  | { name: 'access'; project: string }
  | { name: 'dataset'; project: string; dataset: string }
  | { name: 'table'; project: string; webapp: string }
  | { name: 'log'; project: string; webapp: string }
  | { name: 'account' }
  | { name: 'admin'; section: AdminSection }
  | { name: 'not-found' };

export const adminSections = ['users', 'groups', 'tokens', 'connections', 'targets', 'audit'] as const;
export type AdminSection = (typeof adminSections)[number];

/** The place a path stands for. Never throws: what is not known is `not-found`. */
export function parsePath(path: string): Route {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '') continue;
    try {
      parts.push(decodeURIComponent(part));
    } catch {
      return { name: 'not-found' };
    }
  }
  const [first, project, kind, item, view] = parts;
  if (first === undefined) return { name: 'projects' };
  if (first === 'signin' && parts.length === 1) return { name: 'signin' };
  if (first === 'status' && parts.length === 1) return { name: 'status' };
  if (first === 'account' && parts.length === 1) return { name: 'account' };
  if (first === 'admin' && parts.length <= 2) {
    const section = adminSections.find((known) => known === (project ?? 'users'));
    return section ? { name: 'admin', section } : { name: 'not-found' };
  }
  if (first !== 'projects') return { name: 'not-found' };
  if (project === undefined) return { name: 'projects' };
  if (kind === undefined || (kind === 'flow' && parts.length === 3)) return { name: 'flow', project };
  if (parts.length === 3 && (kind === 'deployment' || kind === 'scenarios' || kind === 'access')) {
    return { name: kind, project };
  }
  if (kind === 'webapps' && item !== undefined && view === 'log' && parts.length === 5) {
    return { name: 'log', project, webapp: item };
  }
  if (item === undefined || parts.length !== 4) return { name: 'not-found' };
  if (kind === 'datasets') return { name: 'dataset', project, dataset: item };
  if (kind === 'webapps') return { name: 'table', project, webapp: item };
  return { name: 'not-found' };
}

const part = encodeURIComponent;

/** Addresses by the place they lead to: the inverse of `parsePath`. */
export const href = {
  projects: (): string => '/',
  signin: (next?: string): string => (next && next !== '/' ? `/signin?next=${part(next)}` : '/signin'),
  status: (): string => '/status',
  account: (): string => '/account',
  admin: (section: AdminSection): string => `/admin/${section}`,
  flow: (project: string): string => `/projects/${part(project)}`,
  deployment: (project: string): string => `/projects/${part(project)}/deployment`,
  scenarios: (project: string): string => `/projects/${part(project)}/scenarios`,
  access: (project: string): string => `/projects/${part(project)}/access`,
  node: (project: string, node: string): string => `/projects/${part(project)}?node=${part(node)}`,
  dataset: (project: string, dataset: string): string => `/projects/${part(project)}/datasets/${part(dataset)}`,
  table: (project: string, webapp: string): string => `/projects/${part(project)}/webapps/${part(webapp)}`,
  /** The table as it stood after an event, or at a moment. */
  tableAsOf: (project: string, webapp: string, moment: string): string =>
    `${href.table(project, webapp)}?as_of=${part(moment)}`,
  log: (project: string, webapp: string): string => `/projects/${part(project)}/webapps/${part(webapp)}/log`,
};

/**
 * Where to go after signing in. Only a path of this site is taken: anything that a browser would read as another
 * host (`//host`, `/\host`, a full address, control characters) gives the home page.
 */
export function safeNext(next: string | null): string {
  if (next === null || !next.startsWith('/')) return '/';
  const base = 'http://stet.invalid';
  let url: URL;
  try {
    url = new URL(next, base);
  } catch {
    return '/';
  }
  if (url.origin !== base || url.pathname === '/signin') return '/';
  return url.pathname + url.search + url.hash;
}

/** The title of the browser's tab for a page. */
export function pageTitle(...parts: (string | null | undefined)[]): string {
  return [...parts.filter((text): text is string => Boolean(text)), 'Stet'].join(' · ');
}

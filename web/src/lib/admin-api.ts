/** Calls of one's own account and of the administration. */
import { call } from './api';

export type Profile = 'reader' | 'designer' | 'admin';

export interface User {
  login: string;
  name: string;
  profile: Profile;
  groups: string[];
  disabled: boolean;
  second_factor: boolean;
  created_at: string;
  last_sign_in: string | null;
}

export interface Group {
  name: string;
  description: string;
  members: string[];
  created_at: string;
}

export interface Token {
  login: string;
  name: string;
  state: 'active' | 'expired' | 'revoked';
  scopes: string[];
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
}

/** A connection, without its secret. */
export interface Connection {
  name: string;
  kind: 'files' | 'postgresql';
  in_file: boolean;
  path: string | null;
  host: string | null;
  port: number | null;
  database: string | null;
  user: string | null;
  sslmode: string | null;
  ca_file: string | null;
  has_password: boolean;
  groups: string[];
  changed_at: string | null;
  changed_by: string | null;
}

export interface ConnectionSettings {
  host: string;
  port: number;
  database: string;
  user: string;
  sslmode: string;
  groups: string[];
  password: string;
}

export interface SecondFactorState {
  in_force: boolean;
  since: string | null;
  recovery_codes: number;
  passkeys: number;
  required: boolean;
}

/** What an app on a phone makes codes of. */
export interface Enrolment {
  secret: string;
  uri: string;
  qr_code: string;
}

export interface OpenSession {
  id: string;
  created_at: string;
  expires_at: string;
  client: string;
  agent: string;
  current: boolean;
}

export interface AuditEvent {
  id: number;
  at: string;
  user: string;
  action: string;
  object: string;
  address: string | null;
  outcome: 'done' | 'refused' | 'failed';
  detail: string;
}

export type AuditFilter = Partial<Record<'user' | 'action' | 'text' | 'outcome' | 'from' | 'to', string>>;

const part = encodeURIComponent;

const auditQuery = (filter: AuditFilter): URLSearchParams =>
  new URLSearchParams(Object.entries(filter).filter(([, value]) => value !== ''));

export const adminApi = {
  users: (signal?: AbortSignal): Promise<{ users: User[] }> => call('GET', '/users', { signal }),
  addUser: (user: { login: string; name: string; profile: Profile; password: string }): Promise<void> =>
    call('POST', '/users', { body: user }),
  changeUser: (login: string, change: { profile?: Profile; password?: string; disabled?: boolean; reset_second_factor?: boolean }): Promise<void> =>
    call('PATCH', `/users/${part(login)}`, { body: change }),

  groups: (signal?: AbortSignal): Promise<{ groups: Group[] }> => call('GET', '/groups', { signal }),
  addGroup: (group: { name: string; description: string }): Promise<void> => call('POST', '/groups', { body: group }),
  removeGroup: (name: string): Promise<void> => call('DELETE', `/groups/${part(name)}`),
  addMember: (group: string, login: string): Promise<void> =>
    call('PUT', `/groups/${part(group)}/members/${part(login)}`),
  removeMember: (group: string, login: string): Promise<void> =>
    call('DELETE', `/groups/${part(group)}/members/${part(login)}`),

  tokens: (signal?: AbortSignal): Promise<{ tokens: Token[] }> => call('GET', '/tokens', { signal }),
  revokeToken: (login: string, name: string): Promise<void> =>
    call('DELETE', `/users/${part(login)}/tokens/${part(name)}`),

  connections: (signal?: AbortSignal): Promise<{ connections: Connection[] }> =>
    call('GET', '/connections', { signal }),
  addConnection: (connection: { name: string } & Partial<ConnectionSettings>): Promise<void> =>
    call('POST', '/connections', { body: connection }),
  changeConnection: (name: string, change: Partial<ConnectionSettings>): Promise<void> =>
    call('PATCH', `/connections/${part(name)}`, { body: change }),
  removeConnection: (name: string): Promise<void> => call('DELETE', `/connections/${part(name)}`),
  testConnection: (name: string): Promise<{ works: boolean; reason: string | null }> =>
    call('POST', `/connections/${part(name)}/test`, { body: {} }),

  audit: (
    filter: AuditFilter,
    before: number | null,
    signal?: AbortSignal,
  ): Promise<{ events: AuditEvent[]; before: number | null }> => {
    const query = auditQuery(filter);
    if (before !== null) query.set('before', String(before));
    return call('GET', `/audit?${query.toString()}`, { signal });
  },
  auditExport: (filter: AuditFilter): string => `/api/v1/audit/export?${auditQuery(filter).toString()}`,

  mySessions: (signal?: AbortSignal): Promise<{ sessions: OpenSession[] }> =>
    call('GET', '/account/sessions', { signal }),
  endSession: (id: string): Promise<void> => call('DELETE', `/account/sessions/${part(id)}`),
  changePassword: (current: string, next: string): Promise<void> =>
    call('POST', '/account/password', { body: { current_password: current, new_password: next } }),
  secondFactor: (signal?: AbortSignal): Promise<SecondFactorState> =>
    call('GET', '/account/second-factor', { signal }),
  beginSecondFactor: (password: string): Promise<Enrolment> =>
    call('POST', '/account/second-factor', { body: { password } }),
  confirmSecondFactor: (code: string): Promise<{ recovery_codes: string[] }> =>
    call('POST', '/account/second-factor/confirm', { body: { code } }),
  renewRecoveryCodes: (password: string): Promise<{ recovery_codes: string[] }> =>
    call('POST', '/account/second-factor/recovery-codes', { body: { password } }),
  removeSecondFactor: (password: string): Promise<void> =>
    call('POST', '/account/second-factor/remove', { body: { password } }),
  myTokens: (signal?: AbortSignal): Promise<{ tokens: Token[] }> => call('GET', '/account/tokens', { signal }),
  addToken: (token: { name: string; days?: number; scopes: string[] }): Promise<{ token: string }> =>
    call('POST', '/account/tokens', { body: token }),
  revokeMyToken: (name: string): Promise<void> => call('DELETE', `/account/tokens/${part(name)}`),
};

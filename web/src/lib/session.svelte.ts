/** Who is signed in, and what happens when that ends. */
import type { PasskeyAnswer } from './passkeys';
import { api, ApiError, messageOf, setUnauthorizedHandler } from './api';
import { navigation } from './navigation.svelte';
import { href, safeNext } from './router';
import type { Session } from './types';

class CurrentSession {
  #session = $state.raw<Session | null>(null);
  #checked = $state(false);
  #failure = $state<string | null>(null);
  #ended = $state(false);
  #again = $state(false);
  #visiting = $state(false);
  /** Who waits for somebody to sign in over the page; told true when that happened, false when it was given up. */
  #waiting: ((signedIn: boolean) => void)[] = [];

  get current(): Session | null {
    return this.#session;
  }

  /** True while somebody who has not signed in looks at a table: the server decides whether it is public. */
  get visiting(): boolean {
    return this.#visiting;
  }

  /** False until the server has said whether somebody is signed in. */
  get checked(): boolean {
    return this.#checked;
  }

  /** Why the server could not be asked. */
  get failure(): string | null {
    return this.#failure;
  }

  /** True when a session ended by itself, so that the sign-in page can say so. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * True when the session ended while the page holds work that is not saved: the page then stays, and one signs in
   * over it.
   */
  get signInAgain(): boolean {
    return this.#again;
  }

  async check(): Promise<void> {
    this.#failure = null;
    try {
      this.#session = await api.session();
      this.#visiting = false;
      this.#checked = true;
      if (navigation.route.name === 'signin') this.#goOn();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        this.#checked = true;
        this.#visiting = navigation.route.name === 'table';
        if (!this.#visiting) this.#toSignIn();
      } else {
        this.#failure = messageOf(error);
      }
    }
  }

  async signIn(
    login: string,
    password: string,
    code: string | null,
    passkey: PasskeyAnswer | null = null,
  ): Promise<void> {
    const before = this.#session;
    const signedIn = await api.signIn(login, password, code, passkey);
    this.#ended = false;
    this.#visiting = false;
    if (!this.#again) {
      this.#session = signedIn;
      this.#goOn();
      return;
    }
    // Another person must not go on with the first one's unsaved work.
    if (before?.user.login !== signedIn.user.login) window.location.reload();
    this.#session = signedIn;
    this.#stopWaiting(true);
  }

  async signOut(): Promise<void> {
    await api.signOut();
    this.#session = null;
    this.#ended = false;
    this.#stopWaiting(false);
    navigation.go(href.signin(), { force: true });
  }

  /** Called when any answer says that nobody is signed in any more. */
  end(): void {
    if (this.#session !== null && navigation.unsaved) {
      this.#again = true;
      return;
    }
    this.#ended = this.#session !== null;
    this.#session = null;
    this.#visiting = false;
    this.#toSignIn();
  }

  /** Gives up the unsaved work of an ended session. */
  leave(): void {
    if (!this.#again) return;
    this.#stopWaiting(false);
    this.#session = null;
    this.#toSignIn();
  }

  /**
   * Asks whether the session is still good; used before a live stream is opened again. While somebody is asked to sign
   * in over the page, the answer waits for it.
   */
  async stillGood(): Promise<boolean> {
    // A visitor has no session that could end; the stream itself says when the table is no longer public.
    if (this.#visiting) return true;
    try {
      await api.session();
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        this.end();
        return this.#again ? new Promise((resolve) => this.#waiting.push(resolve)) : false;
      }
      throw error;
    }
  }

  #stopWaiting(signedIn: boolean): void {
    this.#again = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const tell of waiting) tell(signedIn);
  }

  #goOn(): void {
    navigation.go(safeNext(navigation.search.get('next')), { replace: true, force: true });
  }

  #toSignIn(): void {
    if (navigation.route.name === 'signin') return;
    navigation.go(href.signin(navigation.address), { replace: true, force: true });
  }
}

export const session = new CurrentSession();
setUnauthorizedHandler(() => session.end());

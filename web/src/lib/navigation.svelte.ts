/** The router's hold on the browser: history, link clicks, titles, and where the focus goes. */
import { tick } from 'svelte';
import { pageTitle, parsePath, type Route } from './router';

interface Location {
  route: Route;
  path: string;
  search: string;
}

/** Where the browser is. The route stays the same object while the path does, so that a change of the query alone
 *  makes no page start anew. */
function here(before?: Location): Location {
  const { pathname, search } = window.location;
  const route = before?.path === pathname ? before.route : parsePath(pathname);
  return { route, path: pathname, search };
}

class Navigation {
  #at = $state.raw<Location>(here());
  /** Asked before leaving a page with unsaved work; owned by the page that is shown. */
  #guard: (() => string | null) | null = null;

  get route(): Route {
    return this.#at.route;
  }

  get path(): string {
    return this.#at.path;
  }

  get search(): URLSearchParams {
    return new URLSearchParams(this.#at.search);
  }

  /** Path and query, as `/signin?next=` remembers it. */
  get address(): string {
    return this.#at.path + this.#at.search;
  }

  /** Starts listening to links and to the Back button; the answer stops it. */
  start(): () => void {
    const onPop = (): void => {
      const samePage = window.location.pathname === this.#at.path;
      if (!samePage && !this.#mayLeave()) {
        // The browser has moved already: put the address back to the page that stays.
        history.pushState(null, '', this.address);
        return;
      }
      this.#at = here(this.#at);
      if (!samePage) this.#arrive();
    };
    const onClick = (event: MouseEvent): void => {
      const target = linkToFollow(event);
      if (target === null) return;
      event.preventDefault();
      this.go(target.pathname + target.search);
    };
    window.addEventListener('popstate', onPop);
    document.addEventListener('click', onClick);
    return () => {
      window.removeEventListener('popstate', onPop);
      document.removeEventListener('click', onClick);
    };
  }

  /** Goes to an address of this site. `force` skips the question about unsaved work (a session that ended). */
  go(address: string, options: { replace?: boolean; force?: boolean } = {}): void {
    const samePage = new URL(address, window.location.origin).pathname === this.#at.path;
    if (!samePage && !options.force && !this.#mayLeave()) return;
    if (options.replace) history.replaceState(null, '', address);
    else history.pushState(null, '', address);
    this.#at = here(this.#at);
    if (!samePage) this.#arrive();
  }

  /** Changes only the query of the address, without a new history entry and without moving the focus. */
  setSearch(params: URLSearchParams): void {
    const text = params.toString();
    const search = text === '' ? '' : `?${text}`;
    if (search === this.#at.search) return;
    history.replaceState(null, '', this.#at.path + search);
    this.#at = here(this.#at);
  }

  /** `question` gives the words to ask before leaving, or null when nothing would be lost. */
  guard(question: () => string | null): () => void {
    this.#guard = question;
    return () => {
      if (this.#guard === question) this.#guard = null;
    };
  }

  /** Whether the page that is shown holds work that leaving would lose. */
  get unsaved(): boolean {
    return (this.#guard?.() ?? null) !== null;
  }

  title(...parts: (string | null | undefined)[]): void {
    document.title = pageTitle(...parts);
  }

  #mayLeave(): boolean {
    const question = this.#guard?.() ?? null;
    return question === null || window.confirm(question);
  }

  #arrive(): void {
    window.scrollTo(0, 0);
    // The new page's heading is read out, and Tab goes on from the top of the page's content.
    const path = this.#at.path;
    let framesLeft = 120;
    const focusHeading = (): void => {
      if (this.#at.path !== path || document.querySelector('[data-autofocus]')) return;
      const heading = document.querySelector<HTMLElement>('main h1');
      framesLeft -= 1;
      if (heading) heading.focus({ preventScroll: true });
      else if (framesLeft > 0) requestAnimationFrame(focusHeading);
    };
    void tick().then(focusHeading);
  }
}

/** The link that a click asks to open in this page, or null when the browser should handle it itself. */
function linkToFollow(event: MouseEvent): URL | null {
  if (event.defaultPrevented || event.button !== 0) return null;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return null;
  const element = event.target instanceof Element ? event.target.closest('a[href]') : null;
  if (!(element instanceof HTMLAnchorElement)) return null;
  if ((element.target && element.target !== '_self') || element.hasAttribute('download')) return null;
  const url = new URL(element.href);
  if (url.origin !== window.location.origin || url.pathname.startsWith('/api/')) return null;
  // A link within the page (the skip link) is the browser's own business.
  const samePage = url.pathname === window.location.pathname && url.search === window.location.search;
  if (samePage && url.hash !== '') return null;
  return url;
}

export const navigation = new Navigation();

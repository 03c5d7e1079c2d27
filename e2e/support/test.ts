/** `test` with a node for each test, people who are signed in, and a watch on what Chromium complains of. */

import { test as base, expect, type Browser, type BrowserContextOptions, type Page } from '@playwright/test';
import { Api } from './api';
import { StetNode, type Login } from './node';
import { Table, type WebappName } from './table';
import { templateFolder } from './template';

export interface Person {
  readonly page: Page;
  readonly login: Login;
  /** Opens a table; `query` is the query of its address. */
  open(webapp: WebappName, query?: string): Promise<Table>;
}

/** What Chromium has complained of on all pages of a test. */
class Complaints {
  readonly all: string[] = [];
  private readonly expected: RegExp[] = [];

  /** Names a complaint that the test itself brings about. */
  allow(pattern: RegExp): void {
    this.expected.push(pattern);
  }

  watch(page: Page): void {
    page.on('console', (message) => {
      if (message.type() !== 'error' && message.type() !== 'warning') return;
      this.note(`${message.type()}: ${message.text()} (${message.location().url})`);
    });
    page.on('pageerror', (error) => this.note(`uncaught: ${error.stack ?? error.message}`));
  }

  note(complaint: string): void {
    this.all.push(complaint);
  }

  get unexpected(): string[] {
    return this.all.filter((complaint) => !this.expected.some((pattern) => pattern.test(complaint)));
  }
}

interface Options {
  /** A copy of the template is made at once; a new node takes some seconds for its first build. */
  nodeIs: 'copied' | 'new';
}

interface Fixtures {
  node: StetNode;
  /** The server's API in the name of the demo's administrator, to check what the page says. */
  api: Api;
  complaints: Complaints;
  /** Opens a browser of its own for somebody who is not signed in. */
  visitor: (options?: BrowserContextOptions) => Promise<Page>;
  /** Opens a browser of its own for somebody who is signed in. */
  person: (login: Login, options?: BrowserContextOptions) => Promise<Person>;
  /** Dana, the demo's designer, signed in. */
  dana: Person;
}

export const test = base.extend<Fixtures & Options>({
  nodeIs: ['copied', { option: true }],

  node: async ({ nodeIs }, use) => {
    const node = nodeIs === 'new' ? await StetNode.fresh() : await StetNode.copyOf(templateFolder());
    await use(node);
    await node.remove();
  },

  api: async ({ node, playwright }, use) => {
    const request = await playwright.request.newContext({ baseURL: node.url });
    const api = new Api(request);
    await api.signIn('admin', node.password('admin'));
    await use(api);
    await request.dispose();
  },

  complaints: async ({}, use) => {
    const complaints = new Complaints();
    // Asked before the first page knows who is there; the answer "nobody" is not a fault.
    complaints.allow(/status of 401 .*\/api\/v1\/(session|projects\/[^/]+\/webapps\/[^/]+)\)$/);
    await use(complaints);
    expect(complaints.unexpected, 'Chromium reports neither errors nor violations of the content policy').toEqual([]);
  },

  visitor: async ({ node, browser, complaints, contextOptions }, use, testInfo) => {
    const pages: Page[] = [];
    await use(async (options = {}) => {
      const page = await openWindow(browser, complaints, {
        ...settings(testInfo.project.use),
        ...contextOptions,
        baseURL: node.url,
        ...options,
      });
      pages.push(page);
      return page;
    });
    if (testInfo.status !== testInfo.expectedStatus) {
      for (const [at, page] of pages.entries()) {
        const path = testInfo.outputPath(`window-${at + 1}.png`);
        await page.screenshot({ path }).catch(() => undefined);
        testInfo.attachments.push({ name: `window ${at + 1}`, contentType: 'image/png', path });
      }
    }
    for (const page of pages) {
      // The test may have closed it itself; and a request that the test answers may be under way.
      if (page.isClosed()) continue;
      await page.unrouteAll({ behavior: 'ignoreErrors' });
      await page.context().close();
    }
  },

  person: async ({ node, visitor }, use) => {
    await use(async (login, options) => {
      const page = await visitor(options);
      const answer = await page.request.post('/api/v1/session', { data: { login, password: node.password(login) } });
      expect(answer.status(), `${login} can sign in`).toBe(200);
      return {
        page,
        login,
        open: (webapp, query = '') => Table.open(page, webapp, query),
      };
    });
  },

  dana: async ({ person }, use) => {
    await use(await person('dana'));
  },
});

export { expect };

/** The settings that Playwright gives to its own pages, for windows opened by hand. */
function settings(use: BrowserContextOptions): BrowserContextOptions {
  const { viewport, locale, timezoneId, colorScheme } = use;
  return { viewport, locale, timezoneId, colorScheme };
}

async function openWindow(browser: Browser, complaints: Complaints, options: BrowserContextOptions): Promise<Page> {
  const context = await browser.newContext(options);
  context.on('page', (page) => complaints.watch(page));
  await context.exposeFunction('stetViolation', (text: string) => complaints.note(`content policy: ${text}`));
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      const report = (window as unknown as { stetViolation: (text: string) => void }).stetViolation;
      report(`${event.effectiveDirective} refused ${event.blockedURI}`);
    });
  });
  return context.newPage();
}

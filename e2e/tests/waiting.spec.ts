import type { Page, Request, Route } from "@playwright/test";
import { noViolations } from "../support/axe";
import { strikes } from "../support/csv";
import { expect, test } from "../support/test";

/** Lets requests for some rows wait as long as the test likes, and says how far they are. */
async function slow(
  page: Page,
  path: string,
  isSlow: (request: Request) => boolean,
  progress: { step: string; rows: number | null; percent: number },
): Promise<{
  progress: typeof progress;
  cancelled: string[];
  waits: string[];
  release: () => Promise<void>;
}> {
  const held: Route[] = [];
  const cancelled: string[] = [];
  const waits: string[] = [];
  const now = {
    progress: { ...progress },
    cancelled,
    waits,
    release: async () => {
      for (const route of held.splice(0)) await route.continue();
    },
  };
  await page.route(path, async (route, request) => {
    if (!isSlow(request)) return route.continue();
    const { wait } = (request.postDataJSON() ?? {}) as { wait?: string };
    waits.push(wait ?? new URL(request.url()).searchParams.get("wait") ?? "");
    held.push(route);
  });
  await page.route("**/waits/*", async (route, request) => {
    const wait = request.url().split("/").at(-1) ?? "";
    if (request.method() === "DELETE") {
      cancelled.push(wait);
      return route.continue();
    }
    return waits.includes(wait)
      ? route.fulfill({ json: now.progress })
      : route.continue();
  });
  return now;
}

const isSorted = (request: Request): boolean =>
  ((request.postDataJSON() as { sort: unknown[] }).sort ?? []).length > 0;

const first = strikes.slice(0, 10).map((row) => row.strike_id);

for (const colorScheme of ["light", "dark"] as const) {
  test(`a long wait for rows tells how far they are, and Escape leads back (${colorScheme})`, async ({
    person,
  }) => {
    const { page, open } = await person("dana", { colorScheme });
    const table = await open("correct-strikes");
    const wait = await slow(page, "**/rows/query", isSorted, {
      step: "sorting",
      rows: 10_000,
      percent: 43,
    });
    const told = page.getByRole("group", { name: "Waiting for rows" });
    await expect(told).toBeHidden();
    const before = await table.grid.boundingBox();
    await table.header("species").click();
    await expect(told).toContainText("Sorting 10,000 rows…43 %");
    await expect(
      told.getByRole("progressbar", { name: "Sorting 10,000 rows…" }),
    ).toHaveAttribute("aria-valuenow", "43");
    wait.progress.percent = 62;
    await expect(told).toContainText("62 %");
    // Nothing moves for it.
    expect(await table.grid.boundingBox()).toEqual(before);
    await noViolations(page);

    await page.keyboard.press("Escape");
    await expect(told).toBeHidden();
    await expect(table.notices).toContainText(
      "Cancelled. The table shows all rows in the order of the original",
    );
    await expect(table.header("species")).toHaveAttribute("aria-sort", "none");
    await expect.poll(() => table.keys(10)).toEqual(first);
    await expect.poll(() => wait.cancelled).toEqual([...new Set(wait.waits)]);
    expect(new URL(page.url()).search).toBe("");
    await wait.release();

    // And with the rows it is over.
    await table.header("species").click();
    await expect(told).toBeVisible();
    await wait.release();
    await expect(told).toBeHidden();
    await expect(table.header("species")).toHaveAttribute(
      "aria-sort",
      "ascending",
    );
    await expect.poll(() => table.keys(10)).not.toEqual(first);
  });
}

test("on a phone the wait fits, and is cancelled by its button", async ({
  person,
}) => {
  const { page, open } = await person("dana", {
    viewport: { width: 390, height: 780 },
  });
  const table = await open("correct-strikes");
  await slow(page, "**/rows/query", isSorted, {
    step: "queued",
    rows: null,
    percent: 0,
  });
  await table.header("strike_id").click();
  const told = page.getByRole("group", { name: "Waiting for rows" });
  await expect(told).toContainText("Waiting for other work on this table…");
  const box = await told.boundingBox();
  expect(
    (box?.x ?? -1) >= 0 && (box?.x ?? 0) + (box?.width ?? 0) <= 390,
    "it is inside the window",
  ).toBe(true);
  await noViolations(page);
  await told.getByRole("button", { name: "Cancel" }).click();
  await expect(told).toBeHidden();
  await expect(table.header("strike_id")).toHaveAttribute("aria-sort", "none");
});

test("groups tell how far they are, and are cancelled to those before", async ({
  dana,
}) => {
  const { page } = dana;
  const table = await dana.open("correct-strikes");
  await table.header("species").click({ button: "right" });
  await page.getByRole("menuitem", { name: "Group rows by this…" }).click();
  const panel = page.getByRole("complementary", { name: "Groups" });
  // While groups are counted another status stands in their place.
  const sum = panel.getByRole("status").filter({ hasText: "groups of" });
  await expect(sum).toContainText("groups of 10,000 rows");
  const groups = await sum.textContent();
  const isSlow = (request: Request): boolean =>
    request.url().includes("damage");
  const wait = await slow(page, "**/groups?*", isSlow, {
    step: "grouping",
    rows: 10_000,
    percent: 12,
  });
  await panel.getByRole("combobox", { name: "and by" }).selectOption("damage");
  const told = panel.getByRole("group", { name: "Waiting" });
  await expect(told).toContainText("Grouping 10,000 rows… 12 %");
  await noViolations(page);
  await page.keyboard.press("Escape");
  await expect(told).toBeHidden();
  await expect(
    panel.getByRole("heading", { name: "Groups of Species", exact: true }),
  ).toBeVisible();
  await expect(sum).toHaveText(groups ?? "");
  await expect.poll(() => wait.cancelled).toEqual(wait.waits);
});

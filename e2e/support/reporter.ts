import type { FullResult, Reporter, Suite, TestCase, TestResult } from '@playwright/test/reporter';

/** Prints what failed, and counts at the end: a good run is one line. */
export default class Counts implements Reporter {
  private readonly counts = { passed: 0, failed: 0, skipped: 0 };
  private planned = 0;

  onBegin(_config: unknown, suite: Suite): void {
    this.planned = suite.allTests().length;
  }

  onTestEnd(test: TestCase, result: TestResult): void {
    if (result.status === 'skipped') this.counts.skipped += 1;
    else if (test.ok()) this.counts.passed += 1;
    else {
      this.counts.failed += 1;
      const { file, line } = test.location;
      console.log(`FAILED ${test.title}\n  ${file}:${line} (${result.status}, ${result.duration} ms)`);
      for (const error of result.errors) console.log(indent(error.stack ?? error.message ?? String(error.value)));
      for (const { name, path } of result.attachments) if (path) console.log(`  ${name}: ${path}`);
    }
  }

  onError(error: { message?: string; stack?: string }): void {
    console.log(error.stack ?? error.message ?? 'The tests could not be run.');
  }

  onEnd(result: FullResult): void {
    const { passed, failed, skipped } = this.counts;
    const left = this.planned - passed - failed - skipped;
    const words = [`${passed} passed`, `${failed} failed`];
    if (skipped > 0) words.push(`${skipped} skipped`);
    if (left > 0) words.push(`${left} not run`);
    console.log(`browser tests: ${words.join(', ')} (${(result.duration / 1000).toFixed(1)} s)`);
  }

  printsToStdio(): boolean {
    return true;
  }
}

function indent(text: string): string {
  return text.replace(/^/gm, '  ');
}

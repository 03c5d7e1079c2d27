// Runs before the first paint, so that a dark page never flashes white. A file of its own because the
// content security policy allows no inline script. The storage key is the one of src/lib/theme.svelte.ts.
(function () {
  try {
    var choice = localStorage.getItem('stet.theme');
    if (choice === 'light' || choice === 'dark') document.documentElement.dataset.theme = choice;
  } catch {
    // Storage may be forbidden; the system's theme is then the right one.
  }
})();

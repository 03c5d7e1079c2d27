/** Light, dark, or as the system says. `public/theme.js` applies the stored choice before the first paint. */

export type Theme = 'system' | 'light' | 'dark';

const storageKey = 'stet.theme';
const themes: readonly Theme[] = ['system', 'light', 'dark'];

function stored(): Theme {
  try {
    const value = localStorage.getItem(storageKey);
    return themes.find((theme) => theme === value) ?? 'system';
  } catch {
    return 'system';
  }
}

class ThemeChoice {
  #theme = $state<Theme>(stored());

  get current(): Theme {
    return this.#theme;
  }

  get next(): Theme {
    return themes[(themes.indexOf(this.#theme) + 1) % themes.length] ?? 'system';
  }

  set(theme: Theme): void {
    this.#theme = theme;
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    try {
      if (theme === 'system') localStorage.removeItem(storageKey);
      else localStorage.setItem(storageKey, theme);
    } catch {
      // Storage may be forbidden: the choice then lasts until the page is closed.
    }
  }
}

export const theme = new ThemeChoice();

/** Nothing is preprocessed: Svelte 5 reads TypeScript in components itself. */
export default { compilerOptions: { runes: true } };

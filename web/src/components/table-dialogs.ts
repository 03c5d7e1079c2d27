/** The dialogs of the table page, fetched together when the first of them is opened. */
export { default as AddRowDialog } from './AddRowDialog.svelte';
export { default as DeleteRowDialog } from './DeleteRowDialog.svelte';
export { default as KeyboardHelp } from './KeyboardHelp.svelte';

import './grid.css';

export { createGrid } from './grid';
export type * from './types';

// What a reader of the cells asks for, in one file to fetch.
export { CellTable } from './cellTable';
export { openCell } from './openCell';

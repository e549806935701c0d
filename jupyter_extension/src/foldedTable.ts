import { element } from './dom';

/** A table that is folded away until the reader asks; what fills it comes when it is opened first. */
export interface IFoldedTable {
  node: HTMLDetailsElement;
  body: HTMLTableSectionElement;
}

/** `of` says in the fold whose it is, `caption` above the columns. */
export function foldedTable(kind: string, of: string, caption: string, columns: string[]): IFoldedTable {
  const node = element('details', `wm-details ${kind}`);
  const summary = element('summary', 'wm-details-summary', 'Table');
  summary.append(element('span', 'wm-unseen', ` of ${of}`));
  const table = element('table', 'wm-table');
  const head = element('tr', '');
  for (const name of columns) {
    const cell = element('th', '', name);
    cell.scope = 'col';
    head.append(cell);
  }
  const header = element('thead', '');
  header.append(head);
  const body = element('tbody', '');
  table.append(element('caption', 'wm-table-caption', caption), header, body);
  node.append(summary, table);
  return { node, body };
}

import { element } from './dom';

/** Add a row that begins with its heading; `at` is where, -1 for the end. */
export function headedRow(body: HTMLTableSectionElement, at: number, columns: number): HTMLTableRowElement {
  const row = body.insertRow(at);
  const heading = element('th', '');
  heading.scope = 'row';
  row.append(heading);
  for (let column = 1; column < columns; column++) {
    row.insertCell();
  }
  return row;
}

/** The colours of the charts, taken from the theme in use. A canvas cannot follow CSS variables by itself. */
export interface IPalette {
  /** Utilisation of a GPU or of the CPU. */
  busy: string;
  memory: string;
  text: string;
  grid: string;
  font: string;
}

/** Read the colours that `style/base.css` derives from Lab's theme variables. */
export function readPalette(): IPalette {
  const style = getComputedStyle(document.documentElement);
  const read = (name: string): string => style.getPropertyValue(name).trim();
  return {
    busy: read('--wm-busy'),
    memory: read('--wm-memory'),
    text: read('--jp-ui-font-color2'),
    grid: read('--jp-border-color2'),
    font: `10px ${read('--jp-ui-font-family')}`
  };
}

import { LabIcon } from '@jupyterlab/ui-components';
import svg from '../style/icon.svg';

export const monitorIcon = new LabIcon({ name: 'workshop-monitor:icon', svgstr: svg });

/** All that a recording needs, loaded together when the first one begins. */
export { Recorder } from './recorder';
export { saveRecording } from './saving';

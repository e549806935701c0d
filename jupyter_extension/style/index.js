import './base.css';
import './plan.css';

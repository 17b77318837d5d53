([seed, limit, still]) => {
  const style = document.createElement('style');
  style.textContent = still;
  document.head.appendChild(style);
  if (window.jQuery) jQuery.fx.off = true;
  core.EPISODE_MAX_TIME = limit;
  Math.seedrandom(seed);
  core.startEpisodeReal();
  window.scrollTo(0, 0);  // a dialog that takes the focus can push the page out of view
  const said = core.getUtterance();
  return said.utterance ?? said;  // some pages add the fields of their template
}

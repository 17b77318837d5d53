([seed, limit, still]) => {
  const style = document.createElement('style');
  style.textContent = still;
  document.head.appendChild(style);
  if (window.jQuery) jQuery.fx.off = true;
  core.EPISODE_MAX_TIME = limit;
  Math.seedrandom(seed);
  core.startEpisodeReal();
  return core.getUtterance();
}

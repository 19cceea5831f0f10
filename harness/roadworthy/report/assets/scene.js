// The page of one scenario: the replay component of the report, without a report around it.

rw.levelWord[""] = "as logged";
rw.case = { mark: () => {} };
rw.player.start();
rw.player.open(rw.data.cases[0], rw.data.present).then(() => {
  document.documentElement.dataset.ready = "yes";
});

window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  rw.picture.refresh();
  rw.player.redraw();
});

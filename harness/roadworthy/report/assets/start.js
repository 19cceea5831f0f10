// Brings the page to life.

document.querySelectorAll("table.stack").forEach(rw.keepTable);
rw.table.start();
rw.scatter.start();
rw.gallery.start();
rw.player.start();
rw.case.start();

window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  rw.picture.refresh();
  rw.gallery.redraw();
  rw.player.redraw();
});

document.documentElement.dataset.ready = "yes";

// Brings the page of hard cases to life: the report's gallery, dialog and player, without its tables.

rw.table = { order: () => rw.data.cases };
rw.gallery.start();
rw.player.start();
rw.case.start();

window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  rw.picture.refresh();
  rw.gallery.redraw();
  rw.player.redraw();
});

document.documentElement.dataset.ready = "yes";

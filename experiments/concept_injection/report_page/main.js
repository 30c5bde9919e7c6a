// The page, from top to bottom.

document.getElementById("page").replaceChildren(
  pageHeader(),
  make("main", {}, glanceSection(), heatMap(), curvesSection(), repliesSection(), controlsSection(), tablesSection(), runSection()),
);
document.body.dataset.ready = "yes";

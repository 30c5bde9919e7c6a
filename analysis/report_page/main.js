// The page, from top to bottom; an organism named in the address is opened.

function openFromAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const [organism, trait] = [asked.get("organism"), asked.get("trait")];
  const known = AUTHORS.includes(organism);
  const first = DATA.assignments.find((each) => AUTHORS.includes(each.author));
  const author = known ? organism : first ? first.author : AUTHORS[0];
  if (author) openOrganism(author, known && TRAITS.includes(trait) ? trait : strongest(author), { quiet: !known });
}

document.getElementById("page").replaceChildren(
  pageHeader(),
  make("main", {}, glanceSection(), heatMap(), organismPanel(), controlsSection(), entriesSection(), runSection(), filesSection()),
);
openFromAddress();
document.body.dataset.ready = "yes";

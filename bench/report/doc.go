// Package report writes results for people: as tables of text, as one HTML page with plots that needs no network and no
// script, and as a Markdown summary for the job page of a CI system. The plots are SVG inside the page; every plot has its
// figures beside it as text.
package report

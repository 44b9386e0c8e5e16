// Package report writes results for people, as tables of text, as one HTML page that needs no network and no script, and as a
// Markdown summary for the job page of a CI system; and for other programs.
package report

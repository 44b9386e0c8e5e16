package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// maxMarkdown keeps a summary within what CI systems show, in bytes; further cases are left out, and it says so.
const maxMarkdown = 60 << 10

// WriteMarkdown writes a summary for a job page: how it ended, what failed, the main figures, all figures folded.
func WriteMarkdown(w io.Writer, r *result.Results) error {
	word, counts := state(r)
	var b strings.Builder
	fmt.Fprintf(&b, "## slim-bench: %s\n\n%s · %s, %d cores · %s", word, when(r), cellText(r.Machine.CPU), r.Machine.Cores, kindOf(r))
	if counts != "" {
		fmt.Fprintf(&b, " · %s", counts)
	}
	b.WriteString("\n\n")
	if r.Busy != "" {
		fmt.Fprintf(&b, "- %s\n", cellText(r.Busy))
	}
	for _, why := range untold(r) {
		fmt.Fprintf(&b, "- not valid: %s\n", cellText(why))
	}
	for _, v := range r.Verdicts {
		if v.Outcome != result.Pass {
			fmt.Fprintf(&b, "- **%s** %s: `%s` %s\n", v.Outcome, cellText(v.Case), strings.ReplaceAll(v.Condition, "`", "'"), cellText(seen(v)))
		}
	}
	heads, rows := summary(r)
	b.WriteString("\n")
	table(&b, heads, rows)
	for i := range r.Cases {
		var part strings.Builder
		s := caseSection(r, i)
		fmt.Fprintf(&part, "\n<details><summary>%s</summary>\n\n", esc(s.Title))
		for _, n := range s.Notes {
			fmt.Fprintf(&part, "- %s\n", cellText(n.Text))
		}
		part.WriteString("\n")
		table(&part, s.Heads, s.Rows)
		part.WriteString("\n</details>\n")
		if b.Len()+part.Len() > maxMarkdown {
			fmt.Fprintf(&b, "\n%d further cases: see the full report.\n", len(r.Cases)-i)
			break
		}
		b.WriteString(part.String())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func table(b *strings.Builder, heads []string, rows [][]cell) {
	if len(rows) == 0 {
		return
	}
	for i, h := range heads {
		fmt.Fprintf(b, "| %s ", cellText(h))
		if i == len(heads)-1 {
			b.WriteString("|\n")
		}
	}
	b.WriteString("| ---" + strings.Repeat(" | ---:", len(heads)-1) + " |\n")
	for _, row := range rows {
		for _, c := range row {
			fmt.Fprintf(b, "| %s ", cellText(c.Text))
		}
		b.WriteString("|\n")
	}
}

var cellReplacer = strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;", ">", "&gt;", "`", "'")

// cellText makes text safe inside a table.
func cellText(s string) string { return cellReplacer.Replace(s) }

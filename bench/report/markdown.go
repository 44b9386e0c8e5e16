package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// maxMarkdown keeps a summary within what CI systems show, in bytes; further cases are left out, and it says so.
const maxMarkdown = 60 << 10

// writeMarkdown writes a summary for a job page: how it ended, what failed, the main figures, all figures folded.
func writeMarkdown(w io.Writer, r *result.Results) error {
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
			fmt.Fprintf(&b, "- **%s** %s: `%s` %s\n", v.Outcome, cellText(v.Case), strings.ReplaceAll(v.Condition, "`", "'"),
				cellText(seen(v)))
		}
	}
	b.WriteString("\n" + summary(r).markdown())
	all := sections(r)
	for i, s := range all {
		part := fmt.Sprintf("\n<details><summary>%s</summary>\n\n", esc(s.Title))
		for _, n := range s.Notes {
			part += fmt.Sprintf("- %s\n", cellText(n.String()))
		}
		part += "\n" + s.Table.markdown() + "\n</details>\n"
		if b.Len()+len(part) > maxMarkdown {
			fmt.Fprintf(&b, "\n%d further cases: see the full report.\n", len(all)-i)
			break
		}
		b.WriteString(part)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// markdown is the table in that form; nothing of one without rows.
func (t table) markdown() string {
	if len(t.Rows) == 0 {
		return ""
	}
	var b strings.Builder
	for _, h := range t.Heads {
		fmt.Fprintf(&b, "| %s ", cellText(h))
	}
	b.WriteString("|\n| ---" + strings.Repeat(" | ---:", len(t.Heads)-1) + " |\n")
	for _, row := range t.Rows {
		for _, c := range row {
			fmt.Fprintf(&b, "| %s ", cellText(c.Text))
		}
		b.WriteString("|\n")
	}
	return b.String()
}

var cellReplacer = strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;", ">", "&gt;", "`", "'")

// cellText makes text safe inside a table.
func cellText(s string) string { return cellReplacer.Replace(s) }

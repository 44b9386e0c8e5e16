//go:build interop

package interop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
)

// shortcoming is something that upstream itself cannot do: the same cell with an application of Rust in place of ours ends in the same
// way.
type shortcoming struct {
	mark string
	of   func(c cell) bool
	step string // where the story stops
	why  string
}

// The first that fits a cell counts.
var shortcomings = []shortcoming{
	{
		mark: "e", step: "invite",
		of: func(c cell) bool {
			return c.moderator == rustEnforce && c.participant == nodeApp || c.moderator == nodeApp && c.participant == rustEnforce
		},
		why: "core 2.0.0-alpha.10 does not sign the payloads of control messages, and who enforces identities takes none that are not signed. " +
			"Nothing of ours takes part.",
	},
	{
		mark: "u", step: "invite",
		of: func(c cell) bool { return c.participant == nodeApp && c.group && c.unreliable },
		why: "cores before 3.0 do not answer an invitation to a group that has no timer settings, which is one whose data is not " +
			"acknowledged.",
	},
}

// shortcoming returns what keeps a cell from its end; nil: nothing.
func (c cell) shortcoming() *shortcoming {
	for i := range shortcomings {
		if shortcomings[i].of(c) {
			return &shortcomings[i]
		}
	}
	return nil
}

// control is the cell with applications of Rust in place of ours: upstream alone.
func (c cell) control() cell {
	if c.moderator == golang {
		c.moderator = rustWarn
	}
	if c.participant == golang {
		c.participant = rustWarn
	}
	return c
}

// How cells stand in the results, which have letters for shortcomings.
const (
	matrixGreen  = "ok"
	matrixFailed = "FAILED"
	matrixNone   = "-"
)

// matrixResults are those of cells by number. put is safe for concurrent use.
type matrixResults struct {
	file string

	mu    sync.Mutex
	marks []string // guarded by mu
}

// newMatrixResults reads those of a file; none is no error.
func newMatrixResults(t *testing.T, file string) *matrixResults {
	t.Helper()
	r := &matrixResults{file: file, marks: make([]string, len(allCells()))}
	for i := range r.marks {
		r.marks[i] = matrixNone
	}
	if file == "" {
		return r
	}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	r.parse(string(text))
	return r
}

func (r *matrixResults) put(c cell, mark string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks[c.number()] = mark
}

// sheets are the cells by table, row, column and node.
func sheets(visit func(title string, rows [appKinds][appKinds][2]cell)) {
	for i := range 8 {
		c := cell{group: i&4 != 0, unreliable: i&2 != 0, plain: i&1 != 0}
		var rows [appKinds][appKinds][2]cell
		for m := range appKinds {
			for p := range appKinds {
				for k, n := range []kind{ours, upstream} {
					c.moderator, c.participant, c.node = m, p, n
					rows[m][p][k] = c
				}
			}
		}
		visit(c.shape(), rows)
	}
}

// shape is what sessions of a cell are like.
func (c cell) shape() string {
	kind := "point-to-point"
	if c.group {
		kind = "group"
	}
	return fmt.Sprintf("%s, %v", kind, shape{c.plain, c.unreliable})
}

// parse takes the marks out of what text has written.
func (r *matrixResults) parse(text string) {
	sheets(func(title string, rows [appKinds][appKinds][2]cell) {
		_, sheet, _ := strings.Cut(text, "## "+title+"\n")
		for m, row := range rows {
			for line := range strings.Lines(sheet) {
				fields := strings.Split(line, "|")
				if len(fields) != int(appKinds)+3 || strings.TrimSpace(fields[1]) != appKind(m).String() {
					continue
				}
				for p, cells := range row {
					marks := strings.Fields(fields[p+2])
					for k, c := range cells {
						if len(marks) == len(cells) {
							r.marks[c.number()] = marks[k]
						}
					}
				}
				break
			}
		}
	})
}

// text is the file.
func (r *matrixResults) text() string {
	var b strings.Builder
	b.WriteString(matrixPreface)
	for _, l := range shortcomings {
		fmt.Fprintf(&b, "* **%s**, stops at \"%s\": %s\n", l.mark, l.step, l.why)
	}
	sheets(func(title string, rows [appKinds][appKinds][2]cell) {
		fmt.Fprintf(&b, "\n## %s\n\n| moderator |", title)
		for k := range appKinds {
			fmt.Fprintf(&b, " %v |", k)
		}
		b.WriteString("\n|" + strings.Repeat(" --- |", int(appKinds)+1) + "\n")
		for m, row := range rows {
			fmt.Fprintf(&b, "| %v |", appKind(m))
			for _, cells := range row {
				fmt.Fprintf(&b, " %s %s |", r.marks[cells[0].number()], r.marks[cells[1].number()])
			}
			b.WriteString("\n")
		}
	})
	return b.String()
}

const matrixPreface = `# The matrix of applications

Applications in five manners, as moderators (rows) and as participants (columns), have sessions of all shapes over our node and over
upstream's: the two marks of a cell. "ok" is a story told to its end; a letter is what upstream itself cannot do, below, and then
the cell of upstream's applications alone, with "Rust warn" in place of "Go", has the same letter: the control. This file is written by the
tests ([interop.md](interop.md)).

In a group, two participants are invited and 500 messages go each way; one is removed and invited again; the other leaves and is invited
again; the first is killed, removed, started and invited again; the second is suspended and resumes, once in the same and once in another epoch;
the moderator closes. Between two, 500 messages go each way and the moderator closes; a session is opened again; the participant leaves; it
is killed in another session, started, and has one more.

| | |
| --- | --- |
| Go | this repository |
| Rust warn, Rust enforce | upstream 3.4.6, with SLIM_IDENTITY_BINDING of that value |
| Python | slim-bindings 3.3.8 of PyPI, which is core 3.4.6 |
| Node.js | @agntcy/slim-bindings 2.0.0-alpha.5 of npm, which is core 2.0.0-alpha.10 |

`

func (r *matrixResults) write(t *testing.T) {
	t.Helper()
	if r.file == "" {
		return
	}
	if err := os.WriteFile(r.file, []byte(r.text()), 0o644); err != nil { //nolint:gosec // a document
		t.Fatal(err)
	}
}

// The committed results are those of all cells, and each is what it should be.
func TestMatrixIsWhole(t *testing.T) {
	r := newMatrixResults(t, "../docs/matrix.md")
	for _, c := range allCells() {
		if got := r.marks[c.number()]; got != c.mark() {
			t.Errorf("%v: %s, want %s", c, got, c.mark())
		}
		if l := c.shortcoming(); l != nil && c.control().shortcoming() != l {
			t.Errorf("%v: its control can do more", c)
		}
	}
	text, err := os.ReadFile("../docs/matrix.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != r.text() {
		t.Error("docs/matrix.md is not what the tests write")
	}
}

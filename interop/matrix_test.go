//go:build interop

package interop

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// language kinds of applications in the matrix.
type appKind int

const (
	golang appKind = iota
	rustWarn
	rustEnforce
	pythonApp
	nodeApp
	appKinds
)

var appNames = [appKinds]string{"Go", "Rust warn", "Rust enforce", "Python", "Node.js"}

func (k appKind) String() string { return appNames[k] }

func (k appKind) rust() bool { return k == rustWarn || k == rustEnforce }

// node is the node of a story, as applications of this kind come to it.
func (s *story) node(k appKind) *node {
	n := *s.nodes[s.cell.node]
	n.binding = "warn"
	if k == rustEnforce {
		n.binding = "enforce"
	}
	return &n
}

// start starts an application, which for slim-peer runs a command.
func (k appKind) start(s *story, command, name string, args ...string) *app {
	n := s.node(k)
	var p *process
	switch k {
	case golang:
		if len(args) > 0 && args[0] != "--echo" {
			args = nil
		}
		p = n.goPeer(s.t, name, args...)
	case pythonApp, nodeApp:
		l := &python
		if k == nodeApp {
			l = &javascript
		}
		if len(args) > 0 && args[0] != "--echo" {
			args = nil
		}
		p = n.launch(s.t, l, name, args...)
	default:
		p = n.peer(s.t, command, name, args...)
	}
	e := p.take(2*limit, func(e event) bool { return e.kind() == "ready" })
	if e == nil {
		s.fail("%s: not ready", p.label)
	}
	a := &app{process: p, name: name, id: e.text("id")}
	s.apps = append(s.apps, a)
	return a
}

// cell is one combination of what the matrix is made of.
type cell struct {
	moderator, participant appKind
	group                  bool
	unreliable, plain      bool
	node                   kind
}

// values are how many a cell's parts have, in the order of digits.
var values = [...]int{int(appKinds), int(appKinds), 2, 2, 2, 2}

func cellOf(d [len(values)]int) cell {
	c := cell{moderator: appKind(d[0]), participant: appKind(d[1]), group: d[2] == 1, unreliable: d[3] == 1, plain: d[4] == 1, node: ours}
	if d[5] == 1 {
		c.node = upstream
	}
	return c
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// digits is cellOf the other way round.
func (c cell) digits() [len(values)]int {
	return [...]int{int(c.moderator), int(c.participant), bit(c.group), bit(c.unreliable), bit(c.plain), bit(c.node == upstream)}
}

// number counts cells, from zero on.
func (c cell) number() (n int) {
	for i, d := range c.digits() {
		n = n*values[i] + d
	}
	return n
}

func (c cell) String() string {
	return fmt.Sprintf("%s to %s, %s, node %s", c.moderator, c.participant, c.shape(), c.node)
}

func allCells() (all []cell) {
	var d [len(values)]int
	for {
		all = append(all, cellOf(d))
		i := len(d) - 1
		for ; i >= 0; i-- {
			if d[i]++; d[i] < values[i] {
				break
			}
			d[i] = 0
		}
		if i < 0 {
			return all
		}
	}
}

var (
	matrixCells = flag.String("matrix", "pairs", "cells of the matrix: pairs, all, I/N for the I-th of N parts, or text that their names contain")
	matrixLanes = flag.Int("matrix.lanes", 10, "cells of the matrix at a time")
	matrixFile  = flag.String("matrix.file", "", "file that gets the results, beside those that it has")
)

// chosen returns the cells that -matrix asks for.
func chosen(t *testing.T) (cells []cell) {
	t.Helper()
	if *matrixCells == "pairs" {
		return pairwise()
	}
	part, parts := 1, 1
	_, err := fmt.Sscanf(*matrixCells, "%d/%d", &part, &parts)
	for i, c := range allCells() {
		if err == nil && i%parts == part-1 || *matrixCells == "all" || err != nil && strings.Contains(c.String(), *matrixCells) {
			cells = append(cells, c)
		}
	}
	if len(cells) == 0 {
		t.Fatalf("no cell is chosen by %q", *matrixCells)
	}
	return cells
}

// pairwise returns cells in which every two values of two parts occur together, groups of all shapes that an application in Go leads,
// and the controls of what upstream cannot do. The choice is always the same. Cells in which all can be done come first.
func pairwise() (cells []cell) {
	type pair struct{ i, a, j, b int }
	uses := map[pair]int{}
	pairs := func(c cell) (all []pair) {
		d := c.digits()
		for i := range d {
			for j := range i {
				all = append(all, pair{i, d[i], j, d[j]})
			}
		}
		return all
	}
	take := func(c cell) {
		cells = append(cells, c)
		for _, p := range pairs(c) {
			uses[p]++
		}
	}
	for _, limited := range []bool{false, true} {
		for {
			var best cell
			most, worn := 0, 0
			for _, c := range allCells() {
				fresh, wear := 0, 0
				for _, p := range pairs(c) {
					fresh += bit(uses[p] == 0)
					wear += uses[p]
				}
				if (c.shortcoming() != nil) == limited && (fresh > most || fresh == most && wear < worn) {
					best, most, worn = c, fresh, wear
				}
			}
			if most == 0 {
				break
			}
			take(best)
		}
	}
	for _, c := range allCells() {
		c.participant, c.node = pythonApp, ours
		led := func(x cell) bool { return x.moderator == golang && x.group && x.shape() == c.shape() }
		if led(c) && c.shortcoming() == nil && !slices.ContainsFunc(cells, led) {
			take(c)
		}
	}
	for _, c := range cells {
		if control := c.control(); c.shortcoming() != nil && !slices.Contains(cells, control) {
			take(control)
		}
	}
	slices.SortStableFunc(cells, func(a, b cell) int { return bit(b.group) - bit(a.group) }) // those that take longest are begun first
	return cells
}

// TestMatrix tells its story in each cell of the matrix, or in those that -matrix chooses.
func TestMatrix(t *testing.T) {
	t.Parallel()
	cells := chosen(t)
	for i, c := range cells {
		t.Logf("%d of %d: %v: %s", i+1, len(cells), c, c.mark())
	}
	nodes := map[kind]*node{ours: startNode(t, ours), upstream: startNode(t, upstream)}
	next := make(chan cell, len(cells))
	for _, c := range cells {
		next <- c
	}
	close(next)
	results := newMatrixResults(t, *matrixFile)
	var lanes sync.WaitGroup
	for range *matrixLanes {
		lanes.Go(func() {
			for c := range next {
				t.Run(c.String(), func(t *testing.T) {
					err := c.tell(t, nodes)
					if err != nil {
						t.Logf("stopped by: %v", err)
					}
					if err := c.judge(err); err != nil {
						t.Error(err)
						results.put(c, matrixFailed)
					} else {
						results.put(c, c.mark())
					}
				})
			}
		})
	}
	lanes.Wait()
	results.write(t)
}

// judge returns what is wrong about the end of a cell's story.
func (c cell) judge(err error) error {
	l := c.shortcoming()
	switch {
	case l == nil:
		return err
	case err == nil:
		return fmt.Errorf("upstream can do more than was known: %q does not hold", l.why)
	}
	var failed *stepError
	if !errors.As(err, &failed) || failed.step != l.step {
		return fmt.Errorf("%w; expected was a failure in %q", err, l.step)
	}
	return nil
}

// mark is what stands for a cell in the results.
func (c cell) mark() string {
	if l := c.shortcoming(); l != nil {
		return l.mark
	}
	return matrixGreen
}

package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// point is one point of a line, in the units of its axes.
type point struct{ X, Y float64 }

// line is one curve of a plot.
type line struct {
	Name  string
	Color int // of the palette: the node's number
	Faint bool
	At    []point
}

// plot is a small chart.
type plot struct {
	Title  string
	X, Y   axis
	Lines  []line
	Breaks []mark // where phases begin
}

// mark is a vertical line with a word beside it.
type mark struct {
	X    float64
	Word string
}

// axis maps values to a place between 0 and 1.
type axis struct {
	Label  string
	Format func(float64) string
	Scale  scale
	Ticks  []float64 // nil: chosen
}

type scale uint8

const (
	linear  scale = iota // from 0
	log10                // decades; values are above 0
	tail                 // percentiles 0…100, evenly spread over 1/(1-p)
	nonzero              // linear, from the least value
)

// Geometry of a plot in SVG units.
const (
	plotWidth  = 560
	plotHeight = 250
	left       = 66
	right      = 24 // half of the last tick's text
	top        = 22
	bottom     = 40

	letter = 6.2 // how wide one is in a mark's word, about
)

// place is where v lies on a scale between lo and hi, from 0 to 1.
func (s scale) place(v, lo, hi float64) float64 {
	switch s {
	case log10:
		v, lo, hi = math.Log10(max(v, lo)), math.Log10(lo), math.Log10(hi)
	case tail:
		f := func(p float64) float64 { return -math.Log10(1 - min(p, 99.9995)/100) }
		v, lo, hi = f(v), f(lo), f(hi)
	}
	if hi <= lo {
		return 0.5
	}
	return min(1, max(0, (v-lo)/(hi-lo)))
}

// span returns the ends of an axis that holds all values.
func (a axis) span(values []float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		lo, hi = min(lo, v), max(hi, v)
	}
	if lo > hi {
		lo, hi = 1, 2 // nothing to show
	}
	switch a.Scale {
	case log10:
		lo, hi = math.Pow(10, math.Floor(math.Log10(lo))), math.Pow(10, math.Ceil(math.Log10(hi)))
		if lo == hi {
			hi *= 10
		}
	case linear:
		lo = min(0, lo)
		hi = max(roundUp(hi, ends), lo+1e-9)
	case nonzero:
		if hi == lo {
			hi = lo + 1
		}
	case tail:
		lo, hi = 0, max(hi, 90)
	}
	return lo, hi
}

// Factors of powers of ten: ends of an axis, and steps between ticks that people can add up.
var (
	ends  = []float64{1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10}
	steps = []float64{1, 2, 5, 10}
)

// roundUp rounds up to one of factors times a power of ten.
func roundUp(v float64, factors []float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range factors {
		if v <= m*unit*(1+1e-9) {
			return m * unit
		}
	}
	return 10 * unit
}

// ticks are the values at which an axis has marks.
func (a axis) ticks(lo, hi float64) []float64 {
	if a.Ticks != nil {
		return slices.DeleteFunc(slices.Clone(a.Ticks), func(t float64) bool { return t < lo || t > hi })
	}
	var all []float64
	if a.Scale == log10 {
		for v := lo; v <= hi*1.0001; v *= 10 {
			all = append(all, v)
		}
		return all
	}
	step := roundUp((hi-lo)/5, steps)
	if lo+step == lo {
		return []float64{lo, hi}
	}
	for v := math.Ceil(lo/step) * step; v <= hi+step/1e6 && len(all) < 12; v += step {
		all = append(all, v)
	}
	return all
}

// extreme bounds what is drawn: beyond it an axis says nothing.
const extreme = 1e15

// fits reports whether v has a place on the scale.
func (s scale) fits(v float64) bool {
	return !math.IsNaN(v) && math.Abs(v) <= extreme && (s != log10 || v >= 1/extreme)
}

// drawable returns the lines without the points that have no place.
func (p plot) drawable() []line {
	var lines []line
	for _, l := range p.Lines {
		l.At = slices.DeleteFunc(slices.Clone(l.At), func(q point) bool { return !p.X.Scale.fits(q.X) || !p.Y.Scale.fits(q.Y) })
		if len(l.At) > 0 {
			lines = append(lines, l)
		}
	}
	return lines
}

// SVG draws the plot.
func (p plot) SVG() template.HTML {
	p.Lines = p.drawable()
	var xs, ys []float64
	for _, l := range p.Lines {
		for _, q := range l.At {
			xs, ys = append(xs, q.X), append(ys, q.Y)
		}
	}
	x0, x1 := p.X.span(xs)
	y0, y1 := p.Y.span(ys)
	px := func(v float64) float64 { return left + p.X.Scale.place(v, x0, x1)*(plotWidth-left-right) }
	py := func(v float64) float64 {
		return plotHeight - bottom - p.Y.Scale.place(v, y0, y1)*(plotHeight-top-bottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img"><title>%s</title>`, plotWidth, plotHeight, esc(p.Title))
	for _, t := range p.Y.ticks(y0, y1) {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, left, plotWidth-right, py(t), py(t))
		fmt.Fprintf(&b, `<text class="tick" text-anchor="end" x="%d" y="%.1f">%s</text>`, left-8, py(t)+4, esc(p.Y.Format(t)))
	}
	for _, t := range p.X.ticks(x0, x1) {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, px(t), px(t), top, plotHeight-bottom)
		fmt.Fprintf(&b, `<text class="tick" text-anchor="middle" x="%.1f" y="%d">%s</text>`, px(t), plotHeight-bottom+17, esc(p.X.Format(t)))
	}
	p.marks(&b, px)
	fmt.Fprintf(&b, `<text class="label" text-anchor="end" x="%d" y="%d">%s</text>`, plotWidth-right, plotHeight-5, esc(p.X.Label))
	for _, l := range p.Lines {
		l.draw(&b, px, py)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// marks draws the lines at which phases begin, and their names where there is room up to the next.
func (p plot) marks(b *strings.Builder, px func(float64) float64) {
	for i, m := range p.Breaks {
		if !p.X.Scale.fits(m.X) {
			continue
		}
		at, end := px(m.X), float64(plotWidth-right)
		if i+1 < len(p.Breaks) && p.X.Scale.fits(p.Breaks[i+1].X) {
			end = px(p.Breaks[i+1].X)
		}
		fmt.Fprintf(b, `<line class="break" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, at, at, top-12, plotHeight-bottom)
		if m.Word != "" && end-at > letter*float64(utf8.RuneCountInString(m.Word))+6 {
			fmt.Fprintf(b, `<text class="phase" x="%.1f" y="%d">%s</text>`, at+4, top-5, esc(m.Word))
		}
	}
}

func (l line) draw(b *strings.Builder, px, py func(float64) float64) {
	class := fmt.Sprintf("line n%d", l.Color%len(palette))
	if l.Faint {
		class += " faint"
	}
	if len(l.At) == 1 { // a lone point is no line
		q := l.At[0]
		fmt.Fprintf(b, `<circle class="dot n%d" cx="%.1f" cy="%.1f" r="3"><title>%s</title></circle>`, l.Color%len(palette), px(q.X), py(q.Y), esc(l.Name))
		return
	}
	fmt.Fprintf(b, `<path class="%s" d="`, class)
	for i, q := range l.At {
		step := "L"
		if i == 0 {
			step = "M"
		}
		fmt.Fprintf(b, "%s%.1f %.1f", step, px(q.X), py(q.Y))
	}
	fmt.Fprintf(b, `"><title>%s</title></path>`, esc(l.Name))
}

func esc(s string) string { return template.HTMLEscapeString(s) }

// palette is Okabe and Ito's, which people with other colour vision tell apart, with a dash pattern each.
var palette = []struct{ Light, Dark, Dash string }{
	{"#0072b2", "#56b4e9", "none"},
	{"#d55e00", "#f0883e", "7 3"},
	{"#009e73", "#2bd4a5", "2 3"},
	{"#9a5b8b", "#dd9fcb", "9 3 2 3"},
	{"#8a6d00", "#e6c229", "4 2"},
	{"#555555", "#aaaaaa", "1 3"},
}

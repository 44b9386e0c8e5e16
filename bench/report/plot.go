package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/seed31b3bfd0/slimgo/bench/result"
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
	Lines  []line // of values that fit the axes; no line is empty
	Breaks []mark // where phases begin
}

// mark is a vertical line with a word beside it.
type mark struct {
	X    float64
	Word string
}

// axis maps values to a place between 0 and 1.
type axis struct {
	Label string
	Unit  result.Unit
	Scale scale
	Ticks []float64 // nil: chosen, and written in the unit
}

type scale uint8

const (
	linear scale = iota // from 0
	log10               // decades; values are above 0
	tail                // percentiles 0…100, evenly spread over 1/(1-p)
)

// Geometry of a plot in SVG units.
const (
	plotWidth  = 420
	plotHeight = 230
	left       = 80
	right      = 24 // half of the last tick's text
	top        = 22
	bottom     = 42

	letter = 6.8 // how wide one is in a mark's word, about
)

// extreme bounds what is drawn: beyond it an axis says nothing.
const extreme = 1e15

// fits reports whether v has a place on the scale.
func (s scale) fits(v float64) bool {
	return !math.IsNaN(v) && math.Abs(v) <= extreme && (s != log10 || v >= 1/extreme)
}

// even is v on a scale whose steps are even.
func (s scale) even(v float64) float64 {
	switch s {
	case log10:
		return math.Log10(v)
	case tail:
		return -math.Log10(1 - min(v, 99.9995)/100)
	}
	return v
}

// place is where v lies on a scale between lo and hi, from 0 to 1.
func (s scale) place(v, lo, hi float64) float64 {
	v, lo, hi = s.even(max(v, lo)), s.even(lo), s.even(hi)
	if hi <= lo {
		return 0.5
	}
	return min(1, (v-lo)/(hi-lo))
}

// span returns the ends of an axis on which all values have a place.
func (s scale) span(values []float64) (lo, hi float64) {
	if len(values) == 0 {
		return 1, 2
	}
	lo, hi = slices.Min(values), slices.Max(values)
	switch s {
	case log10:
		lo, hi = math.Pow(10, math.Floor(math.Log10(lo))), math.Pow(10, math.Ceil(math.Log10(hi)))
		return lo, max(hi, 10*lo)
	case tail:
		return 0, max(hi, 90)
	}
	lo = min(0, lo)
	return lo, max(roundUp(hi, ends), lo+1e-9)
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
func (a axis) ticks(lo, hi float64) (all []float64) {
	step := roundUp((hi-lo)/5, steps)
	switch {
	case a.Ticks != nil:
		return slices.DeleteFunc(slices.Clone(a.Ticks), func(t float64) bool { return t < lo || t > hi })
	case a.Scale == log10:
		for v := lo; v <= hi*1.0001; v *= 10 {
			all = append(all, v)
		}
	case lo+step == lo:
		return []float64{lo, hi}
	default:
		for v := math.Ceil(lo/step) * step; v <= hi+step/1e6 && len(all) < 12; v += step {
			all = append(all, v)
		}
	}
	return all
}

// text writes a tick.
func (a axis) text(v float64) string {
	if a.Ticks != nil || v == 0 {
		return fmt.Sprint(v)
	}
	return result.Format(v, a.Unit)
}

// SVG draws the plot.
func (p plot) SVG() template.HTML {
	var xs, ys []float64
	for _, l := range p.Lines {
		for _, q := range l.At {
			xs, ys = append(xs, q.X), append(ys, q.Y)
		}
	}
	x0, x1 := p.X.Scale.span(xs)
	y0, y1 := p.Y.Scale.span(ys)
	px := func(v float64) float64 { return left + p.X.Scale.place(v, x0, x1)*(plotWidth-left-right) }
	py := func(v float64) float64 {
		return plotHeight - bottom - p.Y.Scale.place(v, y0, y1)*(plotHeight-top-bottom)
	}
	var b strings.Builder
	segment := func(class string, fromX, toX, fromY, toY float64) {
		fmt.Fprintf(&b, `<line class="%s" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, class, fromX, toX, fromY, toY)
	}
	write := func(class, anchor string, x, y float64, text string) {
		fmt.Fprintf(&b, `<text class="%s" text-anchor="%s" x="%.1f" y="%.1f">%s</text>`, class, anchor, x, y, esc(text))
	}
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img"><title>%s</title>`, plotWidth, plotHeight, esc(p.Title))
	for _, t := range p.Y.ticks(y0, y1) {
		segment("grid", left, plotWidth-right, py(t), py(t))
		write("tick", "end", left-8, py(t)+4, p.Y.text(t))
	}
	for _, t := range p.X.ticks(x0, x1) {
		segment("grid", px(t), px(t), top, plotHeight-bottom)
		write("tick", "middle", px(t), plotHeight-bottom+18, p.X.text(t))
	}
	for i, m := range p.Breaks {
		end := float64(plotWidth - right)
		if i+1 < len(p.Breaks) {
			end = px(p.Breaks[i+1].X)
		}
		segment("break", px(m.X), px(m.X), top-12, plotHeight-bottom)
		if end-px(m.X) > letter*float64(utf8.RuneCountInString(m.Word))+6 { // there is room up to the next
			write("phase", "start", px(m.X)+4, top-5, m.Word)
		}
	}
	write("label", "end", plotWidth-right, plotHeight-5, p.X.Label)
	for _, l := range p.Lines {
		l.draw(&b, px, py)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

func (l line) draw(b *strings.Builder, px, py func(float64) float64) {
	color := l.Color % len(palette)
	if len(l.At) == 1 { // a lone point is no line
		fmt.Fprintf(b, `<circle class="dot n%d" cx="%.1f" cy="%.1f" r="3"><title>%s</title></circle>`, color, px(l.At[0].X),
			py(l.At[0].Y), esc(l.Name))
		return
	}
	faint, step := "", "M"
	if l.Faint {
		faint = " faint"
	}
	fmt.Fprintf(b, `<path class="line n%d%s" d="`, color, faint)
	for _, q := range l.At {
		fmt.Fprintf(b, "%s%.1f %.1f", step, px(q.X), py(q.Y))
		step = "L"
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

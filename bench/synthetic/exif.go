package synthetic

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Exif is what a photo's EXIF says.
type Exif struct {
	// Make, Model and Lens are the camera's; Lens is empty where it names none.
	Make, Model, Lens string
	// Orientation is 1 to 8.
	Orientation int
	// TakenLocal is DateTimeOriginal with SubSecTimeOriginal: the wall time as
	// written, as if it were UTC.
	TakenLocal time.Time
	// SubSec reports whether SubSecTimeOriginal is written; TakenLocal has whole
	// seconds otherwise.
	SubSec bool
	// OffsetMin is OffsetTimeOriginal in minutes east of UTC; nil without one.
	OffsetMin *int
	// GPS is where it was taken; nil without one.
	GPS *GPS
	// ISO is the film speed.
	ISO int
	// Exposure is the exposure time in seconds.
	Exposure Rational
	// FNumber and FocalLengthMM describe the lens's setting.
	FNumber, FocalLengthMM Rational
	// BigEndian is the byte order of the EXIF (MM), or not (II).
	BigEndian bool
}

// GPS is a place in degrees, north and east positive. EXIF holds it to a
// ten-thousandth of an arc second.
type GPS struct{ Latitude, Longitude float64 }

// Rational is a fraction as EXIF writes it.
type Rational struct{ Num, Den uint32 }

// Float is the fraction's value.
func (r Rational) Float() float64 { return float64(r.Num) / float64(r.Den) }

// camera is a model with the lenses it is used with.
type camera struct {
	make, model string
	weight      int
	lenses      []lens
}

func (c camera) share() int { return c.weight }

// lens is a lens with its focal lengths and its widest aperture, in tenths.
type lens struct {
	name          string
	focal         []uint32
	widestTenths  uint32
	fixedAperture bool
}

var cameras = []camera{
	{"Apple", "iPhone 15 Pro", 24, []lens{
		{"iPhone 15 Pro back triple camera 6.765mm f/1.78", []uint32{68}, 18, true},
		{"iPhone 15 Pro back triple camera 2.22mm f/2.2", []uint32{22}, 22, true},
	}},
	{"Apple", "iPhone 12", 12, []lens{{"iPhone 12 back dual wide camera 4.2mm f/1.6", []uint32{42}, 16, true}}},
	{"samsung", "SM-S918B", 16, []lens{{"", []uint32{63}, 17, true}, {"", []uint32{22}, 22, true}}},
	{"Google", "Pixel 8", 12, []lens{{"Pixel 8 back camera 6.9mm f/1.68", []uint32{69}, 17, true}}},
	{"Canon", "Canon EOS R6", 10, []lens{
		{"RF24-105mm F4 L IS USM", []uint32{240, 350, 500, 850, 1050}, 40, false},
		{"RF50mm F1.8 STM", []uint32{500}, 18, false},
	}},
	{"NIKON CORPORATION", "NIKON Z 6_2", 8, []lens{{"NIKKOR Z 24-70mm f/4 S", []uint32{240, 280, 500, 700}, 40, false}}},
	{"SONY", "ILCE-7M4", 8, []lens{
		{"FE 35mm F1.8", []uint32{350}, 18, false},
		{"FE 70-200mm F2.8 GM OSS II", []uint32{700, 1350, 2000}, 28, false},
	}},
	{"FUJIFILM", "X-T5", 6, []lens{{"XF23mmF2 R WR", []uint32{230}, 20, false}, {"XF16-55mmF2.8 R LM WR", []uint32{160, 350, 550}, 28, false}}},
	{"OLYMPUS CORPORATION", "E-M10MarkIII", 4, []lens{{"OLYMPUS M.14-42mm F3.5-5.6 EZ", []uint32{140, 250, 420}, 35, false}}},
}

// place is somewhere photos are taken, with its offset from UTC in minutes.
type place struct {
	latitude, longitude float64
	offsetMin           int
}

var places = []place{
	{52.52, 13.405, 60},
	{48.8566, 2.3522, 120},
	{40.7128, -74.006, -300},
	{37.7749, -122.4194, -480},
	{-33.8688, 151.2093, 600},
	{35.6762, 139.6503, 540},
	{28.6139, 77.209, 330},
	{-22.9068, -43.1729, -180},
	{64.1466, -21.9426, 0},
	{-1.2921, 36.8219, 180},
	{47.5615, -52.7126, -150},
	{27.7172, 85.324, 345},
}

// stopsTenths are the apertures a lens is closed by, in tenths.
var stopsTenths = []uint32{0, 0, 5, 10, 22, 40, 71}

var exposures = []Rational{{1, 30}, {1, 60}, {1, 125}, {1, 250}, {1, 500}, {1, 1000}, {1, 4000}, {1, 8}, {1, 2}, {13, 10}, {4, 1}}

var isos = []int{50, 64, 100, 100, 200, 400, 640, 800, 1600, 3200, 6400, 12800}

// randomExif decides what a photo's EXIF says. Only a photo that may be
// rotated has an orientation other than 1.
func randomExif(r *rand.Rand, rotates bool) *Exif {
	c := pickWeighted(r, cameras)
	l := pick(r, c.lenses)
	e := &Exif{
		Make: c.make, Model: c.model, Lens: l.name, Orientation: 1,
		ISO: pick(r, isos), Exposure: pick(r, exposures),
		FNumber: Rational{l.widestTenths, 10}, FocalLengthMM: Rational{pick(r, l.focal), 10},
		BigEndian: r.IntN(2) == 0,
	}
	if !l.fixedAperture {
		e.FNumber.Num += pick(r, stopsTenths)
	}
	if rotates && r.Float64() < 0.6 {
		e.Orientation = 1 + r.IntN(8)
	}
	p := pick(r, places)
	first := time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC)
	e.TakenLocal = first.Add(time.Duration(r.IntN(7*365*24*3600)) * time.Second)
	if r.Float64() < 0.5 {
		e.SubSec = true
		e.TakenLocal = e.TakenLocal.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
	}
	if r.Float64() < 0.75 {
		e.OffsetMin = &p.offsetMin
	}
	if r.Float64() < 0.4 {
		e.GPS = &GPS{
			Latitude:  onArc(p.latitude + r.NormFloat64()*0.05),
			Longitude: onArc(p.longitude + r.NormFloat64()*0.05),
		}
	}
	return e
}

// arcUnits are the ten-thousandths of an arc second in one degree.
const arcUnits = 3600 * 10000

// onArc rounds degrees to what EXIF can hold.
func onArc(degrees float64) float64 { return math.Round(degrees*arcUnits) / arcUnits }

// offset is minutes east of UTC as EXIF writes them.
func offset(minutes int) string {
	sign := '+'
	if minutes < 0 {
		sign, minutes = '-', -minutes
	}
	return fmt.Sprintf("%c%02d:%02d", sign, minutes/60, minutes%60)
}

package bench

import (
	"context"
	"testing"
	"time"

	"github.com/tintype/tintype/transform/pixel"
)

func TestFigure(t *testing.T) {
	got := figure(50, 2*time.Second, time.Second)
	if want := (Figure{Photos: 50, ElapsedS: 2, PhotosPerSecond: 25, CPUMSPerPhoto: 20}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMedianIsOfTheMiddleRound(t *testing.T) {
	speeds := func(list ...float64) (figures []Figure) {
		for _, s := range list {
			figures = append(figures, Figure{PhotosPerSecond: s})
		}
		return figures
	}
	for _, c := range []struct {
		figures []Figure
		want    float64
	}{{speeds(7), 7}, {speeds(9, 1), 1}, {speeds(9, 1, 5), 5}, {speeds(4, 1, 2, 3), 2}} {
		if got := median(c.figures).PhotosPerSecond; got != c.want {
			t.Errorf("median of %v: %v, want %v", c.figures, got, c.want)
		}
	}
}

// The bare loop takes photos that are refused like any other, as the pipeline
// does, and fails only where the pipeline would.
func TestBareTakesAllPhotos(t *testing.T) {
	photos := append(photosOf(Options{Seed: 3, Small: true}, 0, 4), []byte("no photo"))
	f, err := bare(t.Context(), photos, pixel.DefaultSpecs())
	if err != nil || f.Photos != len(photos) || f.ElapsedS <= 0 || f.CPUMSPerPhoto < 0 {
		t.Errorf("%+v, %v", f, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bare(ended, photos, pixel.DefaultSpecs()); err == nil {
		t.Error("the loop went on after its context had ended")
	}
}

func TestRoundsHaveTheirOwnPhotos(t *testing.T) {
	o := Options{Seed: 1, Small: true}
	first, again, second := photosOf(o, 0, 1), photosOf(o, 0, 1), photosOf(o, 1, 1)
	if string(first[0]) != string(again[0]) {
		t.Error("one round's photos differ from call to call")
	}
	if string(first[0]) == string(second[0]) {
		t.Error("two rounds share a photo: the second would be a duplicate that costs nothing")
	}
}

package header

import (
	"encoding/binary"
	"slices"

	"github.com/tintype/tintype/event"
)

// The TIFF compressions, photometric interpretations and predictors that are
// told apart (TIFF 6.0; Adobe's technical notes).
const (
	CompressionNone       = 1
	CompressionG3         = 3
	CompressionG4         = 4
	CompressionLZW        = 5
	CompressionJPEG       = 7
	CompressionDeflate    = 8
	CompressionPackBits   = 32773
	CompressionOldDeflate = 32946

	WhiteIsZero = 0
	BlackIsZero = 1
	RGB         = 2
	Palette     = 3
	CMYK        = 5
	YCbCr       = 6

	cfa       = 32803
	linearRaw = 34892

	PredictorHorizontal = 2
	PlanarSeparate      = 2
)

// A Directory is a TIFF's first directory, which describes its first picture.
type Directory struct {
	Order         binary.ByteOrder
	Width, Height int
	// Bits is the length of each sample; all are the same where it is decoded.
	Bits, Samples                     int
	Compression, Photometric          int
	Predictor, Planar, FillOrder      int
	SampleFormat                      int
	ExtraSamples                      []uint32
	ColorMap                          []uint32
	JPEGTables                        []byte
	SubsampleX, SubsampleY, T4Options int
	BlockWidth, BlockHeight           int
	Tiled                             bool
	Offsets, Counts                   []uint32
	allBits                           []uint32
	reduced, children, isDNG          bool
}

// entry is one field of a directory.
type entry struct {
	kind  uint16
	count int64
	data  []byte
}

// ReadDirectory reads a TIFF's first directory. Nothing in it is longer than the
// file.
func ReadDirectory(src []byte) (Directory, error) {
	if len(src) < 8 {
		return Directory{}, truncated(TIFF, len(src))
	}
	d := Directory{Order: binary.LittleEndian, Bits: 1, Samples: 1, Compression: 1, Predictor: 1, Planar: 1, FillOrder: 1, SampleFormat: 1, SubsampleX: 2, SubsampleY: 2}
	if src[0] == 'M' {
		d.Order = binary.BigEndian
	}
	at := int64(d.Order.Uint32(src[4:]))
	if at+2 > int64(len(src)) {
		return Directory{}, truncated(TIFF, len(src))
	}
	count := int64(d.Order.Uint16(src[at:]))
	if at+2+12*count > int64(len(src)) {
		return Directory{}, truncated(TIFF, len(src))
	}
	for i := range count {
		field := src[at+2+12*i:][:12]
		e := entry{kind: d.Order.Uint16(field[2:]), count: int64(d.Order.Uint32(field[4:]))}
		size := e.size()
		if size == 0 {
			continue
		}
		e.data = field[8:12]
		if e.count*size > 4 {
			from := min(int64(d.Order.Uint32(field[8:])), int64(len(src)))
			e.data = src[from:min(from+e.count*size, int64(len(src)))]
		} else {
			e.data = e.data[:e.count*size]
		}
		d.set(d.Order.Uint16(field), e)
	}
	if d.BlockWidth == 0 || !d.Tiled {
		d.BlockWidth = d.Width
	}
	if d.BlockHeight == 0 || !d.Tiled && d.BlockHeight > d.Height {
		d.BlockHeight = d.Height
	}
	return d, nil
}

func (e entry) size() int64 {
	switch e.kind {
	case 1, 7:
		return 1
	case 3:
		return 2
	case 4, 13:
		return 4
	}
	return 0
}

// numbers reads a field's values, most at most.
func (e entry) numbers(order binary.ByteOrder, most int64) []uint32 {
	size := e.size()
	all := make([]uint32, 0, min(int64(len(e.data))/size, most))
	for b := range slices.Chunk(e.data, int(size)) {
		if int64(len(b)) < size || len(all) == cap(all) {
			break
		}
		switch size {
		case 1:
			all = append(all, uint32(b[0]))
		case 2:
			all = append(all, uint32(order.Uint16(b)))
		case 4:
			all = append(all, order.Uint32(b))
		}
	}
	return all
}

// set takes a field that matters.
func (d *Directory) set(tag uint16, e entry) {
	first := 0
	if n := e.numbers(d.Order, 1); len(n) > 0 {
		first = int(n[0])
	}
	const all = 1 << 40
	switch tag {
	case 254:
		d.reduced = first&1 != 0
	case 256:
		d.Width = first
	case 257:
		d.Height = first
	case 258:
		d.Bits, d.allBits = first, e.numbers(d.Order, 16)
	case 259:
		d.Compression = first
	case 262:
		d.Photometric = first
	case 266:
		d.FillOrder = first
	case 273, 324:
		d.Offsets = e.numbers(d.Order, all)
	case 277:
		d.Samples = first
	case 278:
		if !d.Tiled {
			d.BlockHeight = first
		}
	case 279, 325:
		d.Counts = e.numbers(d.Order, all)
	case 284:
		d.Planar = first
	case 292:
		d.T4Options = first
	case 317:
		d.Predictor = first
	case 320:
		d.ColorMap = e.numbers(d.Order, 3<<16)
	case 322:
		d.Tiled, d.BlockWidth = true, first
	case 323:
		d.BlockHeight = first
	case 330:
		d.children = true
	case 338:
		d.ExtraSamples = e.numbers(d.Order, 16)
	case 339:
		d.SampleFormat = first
	case 347:
		d.JPEGTables = e.data
	case 530:
		if n := e.numbers(d.Order, 2); len(n) == 2 {
			d.SubsampleX, d.SubsampleY = int(n[0]), int(n[1])
		}
	case 0xc612:
		d.isDNG = true
	}
}

// raw tells a camera's raw file, whose first directory is a sensor or a preview.
func (d *Directory) raw() bool {
	return d.isDNG || d.Photometric == cfa || d.Photometric == linearRaw || d.reduced && d.children
}

// Gray says that the picture has one channel and no alpha.
func (d *Directory) Gray() bool {
	return d.Photometric <= BlackIsZero && (d.Samples == 1 || !d.Alpha())
}

// Alpha says that the sample behind the colours is an alpha channel.
func (d *Directory) Alpha() bool {
	return len(d.ExtraSamples) > 0 && (d.ExtraSamples[0] == 1 || d.ExtraSamples[0] == 2)
}

// mixedBits says that the samples of a pixel are of several lengths.
func (d *Directory) mixedBits() bool {
	for _, bits := range d.allBits[:min(len(d.allBits), max(d.Samples, 0))] {
		if int(bits) != d.Bits {
			return true
		}
	}
	return false
}

// check refuses what the decoder of package pixel does not read.
func (d *Directory) check() error {
	colours := map[int]int{WhiteIsZero: 1, BlackIsZero: 1, RGB: 3, Palette: 1, CMYK: 4, YCbCr: 3}[d.Photometric]
	blocks := d.BlockWidth >= 1 && d.BlockHeight >= 1 && d.BlockWidth <= d.Width+1<<12 && d.BlockHeight <= d.Height+1<<12
	switch {
	case colours == 0:
		return d.refuse("photometric interpretation", d.Photometric)
	case d.SampleFormat != 1 && d.SampleFormat != 4:
		return d.refuse("sample format", d.SampleFormat)
	case d.mixedBits() || d.Bits < 1 || d.Bits > 16 && d.Bits != 32:
		return d.refuse("bits a sample", d.Bits)
	case d.Samples < colours || d.Samples > 16:
		return d.refuse("samples a pixel", d.Samples)
	case d.Planar != 1 && d.Planar != PlanarSeparate:
		return d.refuse("planar configuration", d.Planar)
	case d.Predictor != 1 && (d.Predictor != PredictorHorizontal || d.Bits != 8 && d.Bits != 16):
		return d.refuse("predictor", d.Predictor)
	case !blocks:
		return event.Refuse(event.ReasonCorrupt, "tiff of %d × %d pixels in blocks of %d × %d", d.Width, d.Height, d.BlockWidth, d.BlockHeight)
	}
	return d.checkCompression()
}

func (d *Directory) checkCompression() error {
	switch d.Compression {
	case CompressionNone, CompressionLZW, CompressionDeflate, CompressionOldDeflate, CompressionPackBits:
		if d.Photometric == YCbCr && (d.Planar != 1 || d.Bits != 8 || d.Predictor != 1 || d.Samples != 3 || !factor(d.SubsampleX) || !factor(d.SubsampleY)) {
			return d.refuse("YCbCr of another kind, subsampled", d.SubsampleX)
		}
		return nil
	case CompressionG3, CompressionG4:
		if d.Bits != 1 || d.Samples != 1 || d.Compression == CompressionG3 && d.T4Options&1 != 0 {
			return d.refuse("fax options", d.T4Options)
		}
		return nil
	case CompressionJPEG:
		if d.Bits != 8 || d.Photometric == Palette || d.Photometric == CMYK {
			return d.refuse("JPEG of photometric interpretation", d.Photometric)
		}
		return nil
	}
	return d.refuse("compression", d.Compression)
}

func factor(n int) bool { return n == 1 || n == 2 || n == 4 }

func (d *Directory) refuse(what string, value int) error {
	return event.Refuse(event.ReasonUnsupportedFeature, "tiff: %s %d", what, value)
}

// readTIFF reads the first directory.
func readTIFF(src []byte, h *Header) error {
	d, err := ReadDirectory(src)
	if err != nil {
		return err
	}
	h.Width, h.Height, h.Bits = d.Width, d.Height, d.Bits
	if d.raw() {
		h.Format = "raw"
		return event.Refuse(event.UnsupportedFormat("raw"), "a camera's raw file is not developed")
	}
	if h.Width <= 0 || h.Height <= 0 {
		return nil // The caller refuses it.
	}
	h.BytesPerPixel = 4
	if d.Gray() {
		h.BytesPerPixel = 1
	}
	if d.Compression == CompressionJPEG { // One block is decoded beside the picture.
		h.BytesPerPixel += 3 * float64(d.BlockWidth+16) * float64(d.BlockHeight+16) / float64(h.Pixels())
	}
	return d.check()
}

package pixel

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/bits"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"

	"github.com/tintype/tintype/event"
	"github.com/tintype/tintype/internal/header"
)

// A tiffDecoder decodes a TIFF's first picture row by row, to 8 bits a sample.
// x/image/tiff reads neither CMYK nor planes nor JPEG nor 2, 4 and 12 bits, and
// holds a strip whole, which may be the picture.
type tiffDecoder struct {
	header.Directory

	ctx context.Context
	src []byte
	// pix holds channels bytes a pixel: one if the picture is gray, else four.
	pix      []byte
	channels int
	// samples is how many samples of a pixel stand together in the file.
	samples int
	row     []byte
}

// decodeTIFF decodes to image.Gray or image.NRGBA.
func decodeTIFF(ctx context.Context, src []byte) (image.Image, error) {
	directory, err := header.ReadDirectory(src)
	if err != nil {
		return nil, err
	}
	d := &tiffDecoder{Directory: directory, ctx: ctx, src: src, channels: 4, samples: directory.Samples}
	if d.Gray() {
		d.channels = 1
	}
	planes := 1
	if d.Planar == header.PlanarSeparate && d.Samples > 1 {
		planes, d.samples = min(d.Samples, d.channels), 1
	}
	across, down := (d.Width+d.BlockWidth-1)/d.BlockWidth, (d.Height+d.BlockHeight-1)/d.BlockHeight
	if int64(len(d.Offsets)) < int64(across)*int64(down)*int64(planes) {
		return nil, event.Refuse(event.ReasonCorrupt, "tiff of %d × %d × %d blocks has %d", planes, across, down, len(d.Offsets))
	}
	d.pix = make([]byte, d.Width*d.Height*d.channels)
	for i := range across * down * planes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		in := i % (across * down)
		at := image.Pt(in%across*d.BlockWidth, in/across*d.BlockHeight)
		if err := d.block(i, at, i/(across*down)); err != nil {
			return nil, err
		}
	}
	return d.image(), nil
}

// block decodes one strip or tile, or one plane of it.
func (d *tiffDecoder) block(i int, at image.Point, plane int) error {
	data := d.src[min(int(d.Offsets[i]), len(d.src)):]
	if i < len(d.Counts) {
		data = data[:min(int(d.Counts[i]), len(data))]
	}
	height := d.BlockHeight
	if !d.Tiled { // The last strip may be shorter.
		height = min(height, d.Height-at.Y)
	}
	if d.Compression == header.CompressionJPEG {
		return d.jpegBlock(data, at, height, plane)
	}
	r, err := d.decompress(data, height)
	if err != nil {
		return err
	}
	if d.Photometric == header.YCbCr {
		return d.subsampledBlock(r, at, height)
	}
	length := (d.BlockWidth*d.samples*d.Bits + 7) / 8
	d.row = append(d.row[:0], make([]byte, length)...)
	for y := at.Y; y < min(at.Y+height, d.Height); y++ {
		if err := d.readRow(r); err != nil {
			return err
		}
		d.predict()
		d.place(at.X, y, plane)
	}
	return nil
}

func (d *tiffDecoder) readRow(r io.Reader) error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	_, err := io.ReadFull(r, d.row)
	return err
}

func (d *tiffDecoder) decompress(data []byte, height int) (io.Reader, error) {
	var raw io.Reader = newReader(d.ctx, data)
	if d.FillOrder == 2 && d.Compression != header.CompressionG3 && d.Compression != header.CompressionG4 {
		raw = reversed{raw}
	}
	switch d.Compression {
	case header.CompressionLZW:
		return bufio.NewReader(lzw.NewReader(raw, lzw.MSB, 8)), nil
	case header.CompressionDeflate, header.CompressionOldDeflate:
		return zlib.NewReader(raw)
	case header.CompressionPackBits:
		return &packBits{r: bufio.NewReader(raw)}, nil
	case header.CompressionG3, header.CompressionG4:
		mode, order := ccitt.Group3, ccitt.MSB
		if d.Compression == header.CompressionG4 {
			mode = ccitt.Group4
		}
		if d.FillOrder == 2 {
			order = ccitt.LSB
		}
		return ccitt.NewReader(raw, order, mode, d.BlockWidth, height, &ccitt.Options{Invert: true}), nil // Fax white is 0.
	}
	return bufio.NewReader(raw), nil
}

// reversed is data whose bytes have their first bit last.
type reversed struct{ r io.Reader }

// Read implements io.Reader.
func (r reversed) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	for i := range n {
		p[i] = bits.Reverse8(p[i])
	}
	return n, err
}

// predict undoes the horizontal predictor (TIFF 6.0, section 14).
func (d *tiffDecoder) predict() {
	if d.Predictor != header.PredictorHorizontal {
		return
	}
	if d.Bits == 8 {
		for i := d.samples; i < len(d.row); i++ {
			d.row[i] += d.row[i-d.samples]
		}
		return
	}
	for i := 2 * d.samples; i+2 <= len(d.row); i += 2 {
		d.Order.PutUint16(d.row[i:], d.Order.Uint16(d.row[i:])+d.Order.Uint16(d.row[i-2*d.samples:]))
	}
}

// place puts the row's samples where they belong in the picture.
func (d *tiffDecoder) place(x, y, plane int) {
	out := d.pix[(y*d.Width+x)*d.channels:][:min(d.BlockWidth, d.Width-x)*d.channels]
	kept := min(d.samples, d.channels)
	shift := plane
	if d.Samples == 2 && d.channels == 4 { // Gray and alpha.
		kept, shift = 1, plane*3
	}
	for i, at := 0, 0; at < len(out); i, at = i+d.samples, at+d.channels {
		for s := range kept {
			out[at+shift+s] = d.sample(i + s)
		}
		if d.Samples == 2 && d.channels == 4 && d.samples == 2 {
			out[at+3] = d.sample(i + 1)
		}
	}
}

// sample is the i-th sample of the row, to 8 bits; of a palette, the index.
func (d *tiffDecoder) sample(i int) byte {
	switch d.Bits {
	case 8:
		return d.row[i]
	case 16:
		return byte(d.Order.Uint16(d.row[2*i:]) >> 8)
	case 32:
		return byte(d.Order.Uint32(d.row[4*i:]) >> 24)
	}
	value := 0
	for at := i * d.Bits; at < (i+1)*d.Bits; at++ {
		value = value<<1 | int(d.row[at/8]>>(7-at%8)&1)
	}
	if d.Photometric == header.Palette {
		return byte(value)
	}
	return byte(value * 255 / (1<<d.Bits - 1))
}

// subsampledBlock decodes YCbCr that is not JPEG: units of a few luminances and
// one pair of chrominances (TIFF 6.0, section 21).
func (d *tiffDecoder) subsampledBlock(r io.Reader, at image.Point, height int) error {
	luminances := d.SubsampleX * d.SubsampleY
	units := (d.BlockWidth + d.SubsampleX - 1) / d.SubsampleX
	d.row = append(d.row[:0], make([]byte, units*(luminances+2))...)
	for y := at.Y; y < at.Y+height && y < d.Height; y += d.SubsampleY {
		if err := d.readRow(r); err != nil {
			return err
		}
		for u := range units {
			unit := d.row[u*(luminances+2):][:luminances+2]
			for k := range luminances {
				px, py := at.X+u*d.SubsampleX+k%d.SubsampleX, y+k/d.SubsampleX
				if px < min(at.X+d.BlockWidth, d.Width) && py < min(at.Y+height, d.Height) {
					out := d.pix[(py*d.Width+px)*4:]
					out[0], out[1], out[2] = color.YCbCrToRGB(unit[k], unit[luminances], unit[luminances+1])
				}
			}
		}
	}
	return nil
}

// jpegBlock decodes a block that is a JPEG without its tables (TIFF Technical
// Note 2).
func (d *tiffDecoder) jpegBlock(data []byte, at image.Point, height, plane int) error {
	data = data[:min(len(data), 4*d.BlockWidth*d.BlockHeight+1<<16)] // No JPEG is longer than its pixels.
	stream := data
	if tables := d.JPEGTables; len(tables) > 4 && len(data) > 2 {
		stream = append(append(bytes.Clone(tables[:len(tables)-2]), data[2:]...), 0xff, 0xd9)
	}
	h, err := header.Read(stream)
	if err != nil {
		return err
	}
	if h.Format != header.JPEG || h.Progressive || h.BytesPerPixel > 3 || h.Width > d.BlockWidth+16 || h.Height > d.BlockHeight+16 {
		return event.Refuse(event.ReasonCorrupt, "tiff block of %d × %d pixels is a %s of %d × %d", d.BlockWidth, height, h.Format, h.Width, h.Height)
	}
	block, err := jpeg.Decode(newReader(d.ctx, stream))
	if err != nil {
		return err
	}
	if _, isGray := block.(*image.Gray); isGray != (d.channels == 1 || d.samples == 1) {
		return event.Refuse(event.ReasonCorrupt, "tiff of %d samples holds a %T", d.samples, block)
	}
	size := image.Pt(min(d.BlockWidth, d.Width-at.X, h.Width), min(height, d.Height-at.Y, h.Height))
	for y := range size.Y {
		out := d.pix[((at.Y+y)*d.Width+at.X)*d.channels:]
		for x := range size.X {
			px := out[x*d.channels:]
			switch block := block.(type) {
			case *image.Gray:
				px[plane] = block.Pix[y*block.Stride+x]
			case *image.YCbCr:
				luminance, chrominance := block.YOffset(x, y), block.COffset(x, y)
				px[0], px[1], px[2] = block.Y[luminance], block.Cb[chrominance], block.Cr[chrominance]
				if d.Photometric == header.YCbCr {
					px[0], px[1], px[2] = color.YCbCrToRGB(px[0], px[1], px[2])
				}
			default:
				c := color.NRGBAModel.Convert(block.At(x, y)).(color.NRGBA)
				px[0], px[1], px[2] = c.R, c.G, c.B
			}
		}
	}
	return nil
}

// image turns the samples into colours, in place.
func (d *tiffDecoder) image() image.Image {
	rect := image.Rect(0, 0, d.Width, d.Height)
	if d.channels == 1 {
		if d.Photometric == header.WhiteIsZero {
			for i := range d.pix {
				d.pix[i] = 255 - d.pix[i]
			}
		}
		return &image.Gray{Pix: d.pix, Stride: d.Width, Rect: rect}
	}
	alphaAt := map[int]int{header.RGB: 4, header.WhiteIsZero: 2, header.BlackIsZero: 2}[d.Photometric]
	opaque := !d.Alpha() || d.Samples != alphaAt
	for i := 0; i < len(d.pix); i += 4 {
		px := d.pix[i : i+4 : i+4]
		switch d.Photometric {
		case header.WhiteIsZero:
			px[0] = 255 - px[0]
			px[1], px[2] = px[0], px[0]
		case header.BlackIsZero:
			px[1], px[2] = px[0], px[0]
		case header.Palette:
			d.lookUp(px)
		case header.CMYK:
			px[0], px[1], px[2] = color.CMYKToRGB(px[0], px[1], px[2], px[3])
		}
		switch {
		case opaque:
			px[3] = 255
		case d.ExtraSamples[0] == 1 && px[3] != 0: // The colours were multiplied by it.
			for c := range 3 {
				px[c] = byte(min(int(px[c])*255/int(px[3]), 255))
			}
		}
	}
	return &image.NRGBA{Pix: d.pix, Stride: 4 * d.Width, Rect: rect}
}

// lookUp replaces an index by its colour: all reds stand first in the map, then
// all greens, then all blues.
func (d *tiffDecoder) lookUp(px []byte) {
	index, size := int(px[0]), len(d.ColorMap)/3
	px[0], px[1], px[2] = 0, 0, 0
	if index < size {
		for c := range 3 {
			px[c] = byte(d.ColorMap[c*size+index] >> 8)
		}
	}
}

// packBits undoes PackBits (TIFF 6.0, section 9).
type packBits struct {
	r *bufio.Reader
	// left is how many bytes the run still has, literal or a repetition of value.
	left    int
	literal bool
	value   byte
}

// Read implements io.Reader.
func (p *packBits) Read(out []byte) (int, error) {
	for p.left == 0 {
		n, err := p.r.ReadByte()
		if err != nil {
			return 0, err
		}
		switch {
		case n < 128:
			p.left, p.literal = int(n)+1, true
		case n > 128:
			p.left, p.literal = 257-int(n), false
			if p.value, err = p.r.ReadByte(); err != nil {
				return 0, io.ErrUnexpectedEOF
			}
		}
	}
	out = out[:min(len(out), p.left)]
	if p.literal {
		n, err := p.r.Read(out)
		p.left -= n
		return n, err
	}
	for i := range out {
		out[i] = p.value
	}
	p.left -= len(out)
	return len(out), nil
}

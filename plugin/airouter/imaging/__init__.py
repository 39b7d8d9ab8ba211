"""Reads pixels and what the headers say of them: slides, fundus photographs, OCT volumes, visual fields.

`reader.open_images` is the way in. An image that is not fit to be analysed comes back as `Ungradable` with the reason;
PixelDataError is raised where stored pixel data is broken.
"""

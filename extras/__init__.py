"""What not everyone needs of contactapi, one module each, loaded when a setting asks
for it: the table EXTRAS of contactapi.py names them."""

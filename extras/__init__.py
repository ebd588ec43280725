"""What not everyone needs of contactapi: the table EXTRAS of contactapi.py names each
and what asks for it. csv_rows.py is a part of spreadsheets.py."""

-- A database of schema 1, as contactapi 1.0.0 made it: two workspaces and every kind of
-- row. Frozen: tests bring it to today's schema. Tokens: none; of the keys only hashes.
PRAGMA application_id = 1668247156;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE "answer" ("id" INTEGER NOT NULL PRIMARY KEY, "workspace_id" INTEGER NOT NULL, "key" TEXT NOT NULL, "name" TEXT NOT NULL, "body" TEXT NOT NULL, "call_id" INTEGER NOT NULL, "text" TEXT NOT NULL, "created_at" INTEGER NOT NULL, FOREIGN KEY ("workspace_id") REFERENCES "workspace" ("id") ON DELETE CASCADE, FOREIGN KEY ("call_id") REFERENCES "call" ("id") ON DELETE CASCADE);
INSERT INTO "answer" VALUES(1,1,'key_11x2xmjjeq86evfpx9r8xrveer','order-1','6a370e1f242e1c3338ed3cc8b0994e417e0369df354a9613906a7d32991bf60b',1,'{"id":"call_5z2070t78b9yqa643998ayhz2t","status":"initiating","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460000","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:47:55Z","updated_at":"2026-07-02T13:47:55Z"}',1783000078750000);
INSERT INTO "answer" VALUES(2,1,'key_11x2xmjjeq86evfpx9r8xrveer','order-2','dc443dd8d96bbf85bdcdb4877587b0c8e89739cb3987c265c324f1aa6d599ddf',5,'{"id":"call_0wb30n0sgs9v3syhejkr17769n","status":"initiating","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460004","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:48:42Z","updated_at":"2026-07-02T13:48:42Z"}',1783000126250000);
CREATE TABLE "call" ("id" INTEGER NOT NULL PRIMARY KEY, "uid" TEXT NOT NULL, "workspace_id" INTEGER NOT NULL, "contact_id" INTEGER NOT NULL, "phone_number" TEXT NOT NULL, "from_number" TEXT, "status" TEXT NOT NULL, "duration" INTEGER, "reason" TEXT, "created_at" INTEGER NOT NULL, "updated_at" INTEGER NOT NULL, "dial" TEXT, "due_at" INTEGER, "sid" TEXT, "sequence" INTEGER NOT NULL, FOREIGN KEY ("workspace_id") REFERENCES "workspace" ("id") ON DELETE CASCADE, FOREIGN KEY ("contact_id") REFERENCES "contact" ("id") ON DELETE CASCADE);
INSERT INTO "call" VALUES(1,'5z2070t78b9yqa643998ayhz2t',1,1,'+442079460000','+442012345678','completed',42,NULL,1783000075000000,1783000086250000,NULL,1783000080000000,'CA11111111111111111111111111111111',2);
INSERT INTO "call" VALUES(2,'4ycmmb1zge8ghrb0tm513njma6',1,1,'+442079460001','+442012345678','canceled',NULL,NULL,1783000091250000,1783000095000000,NULL,1783000091250000,NULL,-1);
INSERT INTO "call" VALUES(3,'001q5axjcb8mz9z1psdh88m1nq',1,1,'+442079460002','+442012345678','canceled',NULL,NULL,1783000100000000,1783000108750000,'hangup',1783000107500000,'CA22222222222222222222222222222222',-1);
INSERT INTO "call" VALUES(4,'45mawm0w4d86fvpegcfswj1r06',1,1,'+442079460003','+442012345678','initiating',NULL,NULL,1783000113750000,1783000113750000,'dial',1783000113750000,NULL,-1);
INSERT INTO "call" VALUES(5,'0wb30n0sgs9v3syhejkr17769n',1,1,'+442079460004','+442012345678','initiating',NULL,NULL,1783000122500000,1783000122500000,'wait',1783000122500000,NULL,-1);
INSERT INTO "call" VALUES(6,'41fskpg5bk9jhanb1s3f5kpczn',1,2,'+442079460005','+442012345678','failed',NULL,'Twilio refused it',1783000130000000,1783000133750000,NULL,1783000130000000,NULL,-1);
CREATE TABLE "company" ("id" INTEGER NOT NULL PRIMARY KEY, "uid" TEXT NOT NULL, "workspace_id" INTEGER NOT NULL, "natural_key" TEXT NOT NULL, "label" TEXT NOT NULL, "created_at" INTEGER NOT NULL, "updated_at" INTEGER NOT NULL, "words" TEXT NOT NULL, "fields" TEXT NOT NULL, FOREIGN KEY ("workspace_id") REFERENCES "workspace" ("id") ON DELETE CASCADE);
INSERT INTO "company" VALUES(1,'68g524hx3c8devqxjtmcr0wtay',1,'analytical engines ltd','Analytical Engines Ltd',1783000060000000,1783000060000000,'analytical engines ltd
https://engines.example
gb','{"website":"https://engines.example","country_code":"GB"}');
INSERT INTO "company" VALUES(2,'6dn8dy7nxy8mt9v48hkkyn87wt',1,'strasse & söhne','Straße & Söhne',1783000062500000,1783000062500000,'strasse & söhne','{}');
INSERT INTO "company" VALUES(3,'4yt299h2pg9fvrvx1y3j9y657h',2,'analytical engines ltd','Analytical Engines Ltd',1783000065000000,1783000065000000,'analytical engines ltd','{}');
CREATE TABLE "contact" ("id" INTEGER NOT NULL PRIMARY KEY, "uid" TEXT NOT NULL, "workspace_id" INTEGER NOT NULL, "natural_key" TEXT NOT NULL, "label" TEXT NOT NULL, "created_at" INTEGER NOT NULL, "updated_at" INTEGER NOT NULL, "words" TEXT NOT NULL, "fields" TEXT NOT NULL, FOREIGN KEY ("workspace_id") REFERENCES "workspace" ("id") ON DELETE CASCADE);
INSERT INTO "contact" VALUES(1,'38cethqwsz8qp8xfpnaw6td3dn',1,'ada@example.com','Ada@Example.com',1783000015000000,1783000020000000,'ada@example.com
ada lovelace
pro
� and '' and 


hello from the page
london','{"name":"Ada Lovelace","plan":"pro","tags":["a",{"b":[1,2.5,null,true]}],"count":12345678901234567890123,"odd\"name":"\u0000 and '' and \n","empty":"","message":"Hello from the page","city":"London"}');
INSERT INTO "contact" VALUES(2,'75yh4rfx9n8d0bbkyhd5jmywap',1,'grace@navy.example','grace@navy.example',1783000022500000,1783000025000000,'grace@navy.example
grace 😀 ünïcode
admiral','{"name":"Grace 😀 Ünïcode","rank":"admiral"}');
INSERT INTO "contact" VALUES(3,'6mjhanr38g8hfv4gs4x6n21xay',1,'eva@bücher.example','eva@bücher.example',1783000027500000,1783000027500000,'eva@bücher.example','{}');
INSERT INTO "contact" VALUES(4,'7yjhfqqb6j8ev9f4kt9c7x8c2w',1,'eva@xn--bcher-kva.example','eva@xn--bcher-kva.example',1783000030000000,1783000030000000,'eva@xn--bcher-kva.example','{}');
INSERT INTO "contact" VALUES(5,'32nkp0f0qx9vnsk4sxzmzghe83',1,'mia@example.com','mia@example.com',1783000032500000,1783000032500000,'mia@example.com','{}');
INSERT INTO "contact" VALUES(6,'4pmp2n9d51935a88e6gde0619a',1,'mi­a@example.com','mi­a@example.com',1783000035000000,1783000035000000,'mi­a@example.com','{}');
INSERT INTO "contact" VALUES(7,'0js3zkfj1597z8t791h1qsye75',1,'​zoe@example.com','​zoe@example.com',1783000037500000,1783000037500000,'​zoe@example.com','{}');
INSERT INTO "contact" VALUES(8,'3ad70v8bwc9tkaxe6tkn11kfkj',1,'lea@bÜcher.example','lea@BÜCHER.example',1783000040000000,1783000040000000,'lea@bücher.example','{}');
INSERT INTO "contact" VALUES(9,'1kbewj5h658cfa09xe0448q83n',1,'restated@example.com','restated@example.com',1783000042500000,1783000045000000,'restated@example.com','{"secret":null}');
INSERT INTO "contact" VALUES(10,'5e7xk8c3c78rf80xe72x6e0d63',1,'import1@example.com','import1@example.com',1582977600000000,1609459200000000,'import1@example.com','{}');
INSERT INTO "contact" VALUES(11,'5e7xk8cac59qv961pxwqw4z51b',1,'import2@example.com','import2@example.com',-500000,-500000,'import2@example.com','{}');
INSERT INTO "contact" VALUES(12,'72kf879sge86386bgbvqz22gmm',2,'ada@example.com','ada@example.com',1783000067500000,1783000067500000,'ada@example.com
acme','{"tenant":"acme"}');
CREATE TABLE "dialling" ("id" INTEGER NOT NULL PRIMARY KEY, "at" INTEGER NOT NULL);
INSERT INTO "dialling" VALUES(1,1783000076250000);
INSERT INTO "dialling" VALUES(2,1783000092500000);
INSERT INTO "dialling" VALUES(3,1783000101250000);
INSERT INTO "dialling" VALUES(4,1783000115000000);
INSERT INTO "dialling" VALUES(5,1783000123750000);
INSERT INTO "dialling" VALUES(6,1783000131250000);
CREATE TABLE "event" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "workspace_id" INTEGER NOT NULL, "type" TEXT NOT NULL, "record" TEXT NOT NULL, "owner" TEXT NOT NULL, "subject" INTEGER, "created_at" INTEGER NOT NULL, "key" TEXT NOT NULL, "changed" TEXT NOT NULL, "submitted" TEXT, "data" TEXT NOT NULL, FOREIGN KEY ("workspace_id") REFERENCES "workspace" ("id") ON DELETE CASCADE);
INSERT INTO "event" VALUES(1,1,'contact.created','con_38cethqwsz8qp8xfpnaw6td3dn','contact',1,1783000016250000,'key_11x2xmjjeq86evfpx9r8xrveer','["email","name","plan","tags","count","odd\"name","empty"]',NULL,'{"id":"con_38cethqwsz8qp8xfpnaw6td3dn","email":"Ada@Example.com","name":"Ada Lovelace","plan":"pro","tags":["a",{"b":[1,2.5,null,true]}],"count":12345678901234567890123,"odd\"name":"\u0000 and '' and \n","empty":"","created_at":"2026-07-02T13:46:55Z","updated_at":"2026-07-02T13:46:55Z"}');
INSERT INTO "event" VALUES(2,1,'contact.updated','con_38cethqwsz8qp8xfpnaw6td3dn','contact',1,1783000018750000,'key_17k3tr9zfa8ttr65vfp5xv1bbz','["message"]','{"email":"ada@example.com","message":"Hello from the page"}','{"id":"con_38cethqwsz8qp8xfpnaw6td3dn","email":"Ada@Example.com","name":"Ada Lovelace","plan":"pro","tags":["a",{"b":[1,2.5,null,true]}],"count":12345678901234567890123,"odd\"name":"\u0000 and '' and \n","empty":"","message":"Hello from the page","created_at":"2026-07-02T13:46:55Z","updated_at":"2026-07-02T13:46:57Z"}');
INSERT INTO "event" VALUES(3,1,'contact.updated','con_38cethqwsz8qp8xfpnaw6td3dn','contact',1,1783000021250000,'key_4xsp102r1q8g68j6e8bxtz3632','["city"]','{"email":"ada@example.com","plan":"free","city":"London"}','{"id":"con_38cethqwsz8qp8xfpnaw6td3dn","email":"Ada@Example.com","name":"Ada Lovelace","plan":"pro","tags":["a",{"b":[1,2.5,null,true]}],"count":12345678901234567890123,"odd\"name":"\u0000 and '' and \n","empty":"","message":"Hello from the page","city":"London","created_at":"2026-07-02T13:46:55Z","updated_at":"2026-07-02T13:47:00Z"}');
INSERT INTO "event" VALUES(4,1,'contact.created','con_75yh4rfx9n8d0bbkyhd5jmywap','contact',2,1783000023750000,'key_17k3tr9zfa8ttr65vfp5xv1bbz','["email","name"]','{"email":"grace@example.com","name":"Grace 😀 Ünïcode"}','{"id":"con_75yh4rfx9n8d0bbkyhd5jmywap","email":"grace@example.com","name":"Grace 😀 Ünïcode","created_at":"2026-07-02T13:47:02Z","updated_at":"2026-07-02T13:47:02Z"}');
INSERT INTO "event" VALUES(5,1,'contact.updated','con_75yh4rfx9n8d0bbkyhd5jmywap','contact',2,1783000026250000,'key_11x2xmjjeq86evfpx9r8xrveer','["email","rank"]',NULL,'{"id":"con_75yh4rfx9n8d0bbkyhd5jmywap","email":"grace@navy.example","name":"Grace 😀 Ünïcode","rank":"admiral","created_at":"2026-07-02T13:47:02Z","updated_at":"2026-07-02T13:47:05Z"}');
INSERT INTO "event" VALUES(6,1,'contact.created','con_6mjhanr38g8hfv4gs4x6n21xay','contact',3,1783000028750000,'key_11x2xmjjeq86evfpx9r8xrveer','["email"]',NULL,'{"id":"con_6mjhanr38g8hfv4gs4x6n21xay","email":"eva@bücher.example","created_at":"2026-07-02T13:47:07Z","updated_at":"2026-07-02T13:47:07Z"}');
INSERT INTO "event" VALUES(7,1,'contact.created','con_7yjhfqqb6j8ev9f4kt9c7x8c2w','contact',4,1783000031250000,'key_11x2xmjjeq86evfpx9r8xrveer','["email"]',NULL,'{"id":"con_7yjhfqqb6j8ev9f4kt9c7x8c2w","email":"eva@xn--bcher-kva.example","created_at":"2026-07-02T13:47:10Z","updated_at":"2026-07-02T13:47:10Z"}');
INSERT INTO "event" VALUES(8,1,'contact.created','con_32nkp0f0qx9vnsk4sxzmzghe83','contact',5,1783000033750000,'key_11x2xmjjeq86evfpx9r8xrveer','["email"]',NULL,'{"id":"con_32nkp0f0qx9vnsk4sxzmzghe83","email":"mia@example.com","created_at":"2026-07-02T13:47:12Z","updated_at":"2026-07-02T13:47:12Z"}');
INSERT INTO "event" VALUES(9,1,'contact.created','con_4pmp2n9d51935a88e6gde0619a','contact',6,1783000036250000,'key_11x2xmjjeq86evfpx9r8xrveer','["email"]',NULL,'{"id":"con_4pmp2n9d51935a88e6gde0619a","email":"mi­a@example.com","created_at":"2026-07-02T13:47:15Z","updated_at":"2026-07-02T13:47:15Z"}');
INSERT INTO "event" VALUES(10,1,'contact.created','con_0js3zkfj1597z8t791h1qsye75','contact',7,1783000038750000,'key_11x2xmjjeq86evfpx9r8xrveer','["email"]',NULL,'{"id":"con_0js3zkfj1597z8t791h1qsye75","email":"​zoe@example.com","created_at":"2026-07-02T13:47:17Z","updated_at":"2026-07-02T13:47:17Z"}');
INSERT INTO "event" VALUES(11,1,'contact.created','con_3ad70v8bwc9tkaxe6tkn11kfkj','contact',8,1783000041250000,'key_11x2xmjjeq86evfpx9r8xrveer','["email"]',NULL,'{"id":"con_3ad70v8bwc9tkaxe6tkn11kfkj","email":"lea@BÜCHER.example","created_at":"2026-07-02T13:47:20Z","updated_at":"2026-07-02T13:47:20Z"}');
INSERT INTO "event" VALUES(14,1,'contact.updated','con_1kbewj5h658cfa09xe0448q83n','contact restated',9,1783000047500000,'key_11x2xmjjeq86evfpx9r8xrveer','[]',NULL,'{"id":"con_1kbewj5h658cfa09xe0448q83n","email":"restated@example.com","secret":null,"created_at":"2026-07-02T13:47:22Z","updated_at":"2026-07-02T13:47:25Z"}');
INSERT INTO "event" VALUES(16,1,'contact.deleted','con_6scrcfwjqd9ksvb3trq3e13q1v','contact',NULL,1783000051250000,'key_11x2xmjjeq86evfpx9r8xrveer','[]',NULL,'{"id":"con_6scrcfwjqd9ksvb3trq3e13q1v"}');
INSERT INTO "event" VALUES(17,1,'contact.created','con_5e7xk8c3c78rf80xe72x6e0d63','contact',10,1783000057500000,'cli','["email"]',NULL,'{"id":"con_5e7xk8c3c78rf80xe72x6e0d63","email":"import1@example.com","created_at":"2020-02-29T12:00:00Z","updated_at":"2021-01-01T00:00:00Z"}');
INSERT INTO "event" VALUES(18,1,'contact.created','con_5e7xk8cac59qv961pxwqw4z51b','contact',11,1783000058750000,'cli','["email"]',NULL,'{"id":"con_5e7xk8cac59qv961pxwqw4z51b","email":"import2@example.com","created_at":"1969-12-31T23:59:59Z","updated_at":"1969-12-31T23:59:59Z"}');
INSERT INTO "event" VALUES(19,1,'company.created','cmp_68g524hx3c8devqxjtmcr0wtay','company',1,1783000061250000,'key_11x2xmjjeq86evfpx9r8xrveer','["name","website","country_code"]',NULL,'{"id":"cmp_68g524hx3c8devqxjtmcr0wtay","name":"Analytical Engines Ltd","website":"https://engines.example","country_code":"GB","created_at":"2026-07-02T13:47:40Z","updated_at":"2026-07-02T13:47:40Z"}');
INSERT INTO "event" VALUES(20,1,'company.created','cmp_6dn8dy7nxy8mt9v48hkkyn87wt','company',2,1783000063750000,'key_11x2xmjjeq86evfpx9r8xrveer','["name"]',NULL,'{"id":"cmp_6dn8dy7nxy8mt9v48hkkyn87wt","name":"Straße & Söhne","created_at":"2026-07-02T13:47:42Z","updated_at":"2026-07-02T13:47:42Z"}');
INSERT INTO "event" VALUES(21,2,'company.created','cmp_4yt299h2pg9fvrvx1y3j9y657h','company',3,1783000066250000,'key_399mf7566k8fhvx0a7rrdrgpma','["name"]',NULL,'{"id":"cmp_4yt299h2pg9fvrvx1y3j9y657h","name":"Analytical Engines Ltd","created_at":"2026-07-02T13:47:45Z","updated_at":"2026-07-02T13:47:45Z"}');
INSERT INTO "event" VALUES(22,2,'contact.created','con_72kf879sge86386bgbvqz22gmm','contact',12,1783000068750000,'key_399mf7566k8fhvx0a7rrdrgpma','["email","tenant"]',NULL,'{"id":"con_72kf879sge86386bgbvqz22gmm","email":"ada@example.com","tenant":"acme","created_at":"2026-07-02T13:47:47Z","updated_at":"2026-07-02T13:47:47Z"}');
INSERT INTO "event" VALUES(23,1,'call.created','call_5z2070t78b9yqa643998ayhz2t','contact',1,1783000077500000,'key_11x2xmjjeq86evfpx9r8xrveer','["id","status","contact_id","phone_number","from_number","duration","reason","created_at","updated_at"]',NULL,'{"id":"call_5z2070t78b9yqa643998ayhz2t","status":"initiating","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460000","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:47:55Z","updated_at":"2026-07-02T13:47:55Z"}');
INSERT INTO "event" VALUES(24,1,'call.updated','call_5z2070t78b9yqa643998ayhz2t','contact',1,1783000082500000,'twilio','["status"]',NULL,'{"id":"call_5z2070t78b9yqa643998ayhz2t","status":"queued","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460000","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:47:55Z","updated_at":"2026-07-02T13:48:01Z"}');
INSERT INTO "event" VALUES(25,1,'call.updated','call_5z2070t78b9yqa643998ayhz2t','contact',1,1783000085000000,'twilio','["status"]',NULL,'{"id":"call_5z2070t78b9yqa643998ayhz2t","status":"in-progress","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460000","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:47:55Z","updated_at":"2026-07-02T13:48:03Z"}');
INSERT INTO "event" VALUES(26,1,'call.updated','call_5z2070t78b9yqa643998ayhz2t','contact',1,1783000087500000,'twilio','["status","duration"]',NULL,'{"id":"call_5z2070t78b9yqa643998ayhz2t","status":"completed","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460000","from_number":"+442012345678","duration":42,"reason":null,"created_at":"2026-07-02T13:47:55Z","updated_at":"2026-07-02T13:48:06Z"}');
INSERT INTO "event" VALUES(27,1,'call.created','call_4ycmmb1zge8ghrb0tm513njma6','contact',1,1783000093750000,'key_4wp33tzfqf9wx8sydvgxt2s92g','["id","status","contact_id","phone_number","from_number","duration","reason","created_at","updated_at"]',NULL,'{"id":"call_4ycmmb1zge8ghrb0tm513njma6","status":"initiating","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460001","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:48:11Z","updated_at":"2026-07-02T13:48:11Z"}');
INSERT INTO "event" VALUES(28,1,'call.updated','call_4ycmmb1zge8ghrb0tm513njma6','contact',1,1783000096250000,'key_4wp33tzfqf9wx8sydvgxt2s92g','["status"]',NULL,'{"id":"call_4ycmmb1zge8ghrb0tm513njma6","status":"canceled","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460001","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:48:11Z","updated_at":"2026-07-02T13:48:15Z"}');
INSERT INTO "event" VALUES(29,1,'call.created','call_001q5axjcb8mz9z1psdh88m1nq','contact',1,1783000102500000,'key_11x2xmjjeq86evfpx9r8xrveer','["id","status","contact_id","phone_number","from_number","duration","reason","created_at","updated_at"]',NULL,'{"id":"call_001q5axjcb8mz9z1psdh88m1nq","status":"initiating","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460002","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:48:20Z","updated_at":"2026-07-02T13:48:20Z"}');
INSERT INTO "event" VALUES(30,1,'call.updated','call_001q5axjcb8mz9z1psdh88m1nq','contact',1,1783000106250000,'twilio','["status"]',NULL,'{"id":"call_001q5axjcb8mz9z1psdh88m1nq","status":"queued","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460002","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:48:20Z","updated_at":"2026-07-02T13:48:25Z"}');
INSERT INTO "event" VALUES(31,1,'call.updated','call_001q5axjcb8mz9z1psdh88m1nq','contact',1,1783000110000000,'key_11x2xmjjeq86evfpx9r8xrveer','["status"]',NULL,'{"id":"call_001q5axjcb8mz9z1psdh88m1nq","status":"canceled","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460002","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:48:20Z","updated_at":"2026-07-02T13:48:28Z"}');
INSERT INTO "event" VALUES(32,1,'call.created','call_45mawm0w4d86fvpegcfswj1r06','contact',1,1783000116250000,'key_11x2xmjjeq86evfpx9r8xrveer','["id","status","contact_id","phone_number","from_number","duration","reason","created_at","updated_at"]',NULL,'{"id":"call_45mawm0w4d86fvpegcfswj1r06","status":"initiating","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460003","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:48:33Z","updated_at":"2026-07-02T13:48:33Z"}');
INSERT INTO "event" VALUES(33,1,'call.created','call_0wb30n0sgs9v3syhejkr17769n','contact',1,1783000125000000,'key_11x2xmjjeq86evfpx9r8xrveer','["id","status","contact_id","phone_number","from_number","duration","reason","created_at","updated_at"]',NULL,'{"id":"call_0wb30n0sgs9v3syhejkr17769n","status":"initiating","contact_id":"con_38cethqwsz8qp8xfpnaw6td3dn","phone_number":"+442079460004","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:48:42Z","updated_at":"2026-07-02T13:48:42Z"}');
INSERT INTO "event" VALUES(34,1,'call.created','call_41fskpg5bk9jhanb1s3f5kpczn','contact',2,1783000132500000,'key_11x2xmjjeq86evfpx9r8xrveer','["id","status","contact_id","phone_number","from_number","duration","reason","created_at","updated_at"]',NULL,'{"id":"call_41fskpg5bk9jhanb1s3f5kpczn","status":"initiating","contact_id":"con_75yh4rfx9n8d0bbkyhd5jmywap","phone_number":"+442079460005","from_number":"+442012345678","duration":null,"reason":null,"created_at":"2026-07-02T13:48:50Z","updated_at":"2026-07-02T13:48:50Z"}');
INSERT INTO "event" VALUES(35,1,'call.updated','call_41fskpg5bk9jhanb1s3f5kpczn','contact',2,1783000135000000,'twilio','["status","reason"]',NULL,'{"id":"call_41fskpg5bk9jhanb1s3f5kpczn","status":"failed","contact_id":"con_75yh4rfx9n8d0bbkyhd5jmywap","phone_number":"+442079460005","from_number":"+442012345678","duration":null,"reason":"Twilio refused it","created_at":"2026-07-02T13:48:50Z","updated_at":"2026-07-02T13:48:53Z"}');
CREATE TABLE "key" ("id" INTEGER NOT NULL PRIMARY KEY, "uid" TEXT NOT NULL, "workspace_id" INTEGER NOT NULL, "name" TEXT NOT NULL, "type" TEXT NOT NULL, "hash" TEXT NOT NULL, "hint" TEXT NOT NULL, "permissions" TEXT NOT NULL, "domains" TEXT NOT NULL, "existing" TEXT NOT NULL, "created_at" INTEGER NOT NULL, "last_used_at" INTEGER, FOREIGN KEY ("workspace_id") REFERENCES "workspace" ("id") ON DELETE CASCADE);
INSERT INTO "key" VALUES(1,'11x2xmjjeq86evfpx9r8xrveer',1,'first secret key','secret','8f7ee350ed25802393a53118c08c388b16d98b8a4c00980a78c9bc2d4578f59d','ck_secret_nycc…ma90','[]','[]','update',1783000001250000,1783000002500000);
INSERT INTO "key" VALUES(2,'17k3tr9zfa8ttr65vfp5xv1bbz',1,'landing page','publishable','79acc02fca7f47541f4e3460370d2ddcf458afcc0e13b3700fd42dde74d60a3a','ck_pub_h9tn…kvjq','[]','["example.com","*.example.org"]','update',1783000003750000,1783000005000000);
INSERT INTO "key" VALUES(3,'4xsp102r1q8g68j6e8bxtz3632',1,'keeps what is there','publishable','f95a12abcbcdd92750d313286f64c3a06141d0b781cd056e0d51ecb92f6b4a0b','ck_pub_bdf0…y9dr','[]','["localhost"]','keep',1783000006250000,1783000007500000);
INSERT INTO "key" VALUES(4,'4wp33tzfqf9wx8sydvgxt2s92g',1,'dialler','restricted','c7e8e8792dcd1a1012200b2ac61643f1202ed0ca31cd2125b139df51e6a15030','ck_live_nnh0…ys4j','["contacts:read","calls:read","calls:write"]','[]','update',1783000008750000,1783000010000000);
INSERT INTO "key" VALUES(5,'399mf7566k8fhvx0a7rrdrgpma',2,'acme','secret','7429987ce6ab4200dc5ff87c1bc6a21042d8c2f25f93eb605289321f523b82b7','ck_secret_9bcn…4www','[]','[]','update',1783000011250000,1783000012500000);
INSERT INTO "key" VALUES(6,'0r0zedffbv8b8adzy3saygph01',2,'nobody used it yet','restricted','3943d66724b53ad178431f92f3006aa52c24d2d7e61e3aad68c9945b4e0d9b69','ck_live_twvr…k6wg','["keys:read"]','[]','update',1783000013750000,NULL);
CREATE TABLE "note" ("name" TEXT NOT NULL PRIMARY KEY, "value" TEXT NOT NULL);
INSERT INTO "note" VALUES('erased','50ACFD7DEE701AF7');
CREATE TABLE "tally" ("workspace_id" INTEGER NOT NULL, "kind" TEXT NOT NULL, "total" INTEGER NOT NULL, PRIMARY KEY ("workspace_id", "kind"), FOREIGN KEY ("workspace_id") REFERENCES "workspace" ("id") ON DELETE CASCADE);
INSERT INTO "tally" VALUES(1,'contact',11);
INSERT INTO "tally" VALUES(1,'company',2);
INSERT INTO "tally" VALUES(2,'company',1);
INSERT INTO "tally" VALUES(2,'contact',1);
CREATE TABLE "workspace" ("id" INTEGER NOT NULL PRIMARY KEY, "name" TEXT NOT NULL, "expired" INTEGER NOT NULL);
INSERT INTO "workspace" VALUES(1,'default',0);
INSERT INTO "workspace" VALUES(2,'acme',2);
CREATE UNIQUE INDEX "workspace_name" ON "workspace" ("name");
CREATE UNIQUE INDEX "contact_uid" ON "contact" ("uid");
CREATE UNIQUE INDEX "contact_workspace_id_natural_key" ON "contact" ("workspace_id", "natural_key");
CREATE UNIQUE INDEX "contact_workspace_id_created_at" ON "contact" ("workspace_id", "created_at");
CREATE INDEX "contact_workspace_id_updated_at" ON "contact" ("workspace_id", "updated_at");
CREATE UNIQUE INDEX "company_uid" ON "company" ("uid");
CREATE UNIQUE INDEX "company_workspace_id_natural_key" ON "company" ("workspace_id", "natural_key");
CREATE UNIQUE INDEX "company_workspace_id_created_at" ON "company" ("workspace_id", "created_at");
CREATE INDEX "company_workspace_id_updated_at" ON "company" ("workspace_id", "updated_at");
CREATE UNIQUE INDEX "call_uid" ON "call" ("uid");
CREATE INDEX "call_contact_id" ON "call" ("contact_id");
CREATE INDEX "call_dial" ON "call" ("dial");
CREATE UNIQUE INDEX "call_workspace_id_created_at" ON "call" ("workspace_id", "created_at");
CREATE INDEX "dialling_at" ON "dialling" ("at");
CREATE INDEX "answer_call_id" ON "answer" ("call_id");
CREATE INDEX "answer_created_at" ON "answer" ("created_at");
CREATE UNIQUE INDEX "answer_workspace_id_key_name" ON "answer" ("workspace_id", "key", "name");
CREATE UNIQUE INDEX "key_uid" ON "key" ("uid");
CREATE INDEX "key_workspace_id" ON "key" ("workspace_id");
CREATE UNIQUE INDEX "key_hash" ON "key" ("hash");
CREATE INDEX "event_workspace_id" ON "event" ("workspace_id");
CREATE INDEX "event_subject_owner" ON "event" ("subject", "owner");
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('event',35);
COMMIT;
